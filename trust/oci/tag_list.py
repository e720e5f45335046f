"""Owns the list of a repository's tags, page by page. Source: OCI distribution-spec 1.1, "listing tags"."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from trust.deadline import Deadline
from trust.errors import InputError, LimitError, UnreachableError
from trust.oci.message import Response
from trust.oci.names import is_tag, repository_target
from trust.oci.session import Ask, Session
from trust.oci.url import Url, join_url

TAG_PAGE_SIZE = 1000
TAG_PAGE_MAX_BYTES = 16 * 1024 * 1024  # registries without pages answer with all tags at once
TAG_PAGES_MAX = 1000

_OK, _NOT_FOUND = 200, 404
_NEXT_PAGE = re.compile(r'\s*<([^<>]+)>\s*;\s*rel="?next"?\s*', re.ASCII)


def listed_tags(session: Session, path: str, *, after: str | None, deadline: Deadline) -> Iterator[str]:
    """Yield the tags that sort above ``after`` by bytes, in the registry's order; none for no repository.

    Raises:
        UnreachableError: the answer is no list of tags, or leads to another registry.
        LimitError: it has no end.
    """
    target = f"{repository_target(path)}/tags/list?n={TAG_PAGE_SIZE}"
    where: str | Url = target if after is None else f"{target}&last={after}"
    for _ in range(TAG_PAGES_MAX):
        ask = Ask(method="GET", where=where, path=path, actions="pull", deadline=deadline)
        answer = session.whole(ask, max_bytes=TAG_PAGE_MAX_BYTES)
        if answer.status == _NOT_FOUND:
            return
        if answer.status != _OK:
            raise session.error(f"list the tags of {session.host}/{path}", answer)
        yield from (tag for tag in _tags(answer, session.host) if after is None or tag > after)
        following = _next_page(answer, session.host)
        if following is None:
            return
        where = following
    raise LimitError(f"{session.host}: too many tags in {path}: expected at most {TAG_PAGES_MAX} pages")


def _next_page(answer: Response, host: str) -> Url | None:
    links = answer.headers.each("link")
    if not links:
        return None
    match = _NEXT_PAGE.fullmatch(links[0])
    if match is None:
        raise UnreachableError(f"{host}: link to more tags is malformed: got {links[0][:120]!r}")
    try:
        url = join_url(answer.url, match[1])
    except InputError as err:
        raise UnreachableError(f"{host}: link to more tags is malformed: {err}") from err
    if url.origin != answer.url.origin:
        raise UnreachableError(f"{host}: link to more tags refused: it leads to {url.origin}")
    return url


def _tags(answer: Response, host: str) -> list[str]:
    try:
        listed = json.loads(answer.body)["tags"] or []
    except (ValueError, LookupError, TypeError, RecursionError) as err:
        raise UnreachableError(f"{host}: list of tags is malformed: {err}") from err
    if not isinstance(listed, list) or not all(isinstance(tag, str) and is_tag(tag) for tag in listed):
        raise UnreachableError(f"{host}: list of tags is malformed: it holds what is no tag")
    return listed
