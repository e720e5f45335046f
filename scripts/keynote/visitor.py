"""The visitor: asks the shop's address for a page, and says what came."""

import requests

from scripts.keynote.story import Saw, Who

_BODY_MAX_BYTES = 64 * 1024


def visit(url: str, who: Who = Who.VISITOR) -> Saw:
    """What ``who`` gets for ``url``; status 0 if nobody answers."""
    try:
        answer = requests.get(url, timeout=10)
    except requests.RequestException as err:
        return Saw(who=who, url=url, status=0, body=f"<p>{type(err).__name__}</p>")
    body = answer.content[:_BODY_MAX_BYTES].decode("utf-8", "replace")
    return Saw(who=who, url=url, status=answer.status_code, body=body)
