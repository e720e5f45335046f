"""Owns where in a cloud an object store is: its address, its endpoint, how it is opened, what its errors say.

Credentials and endpoints come from the environment by the names that each cloud's own tools use; obstore reads
them. Plain HTTP goes to this machine alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from trust.errors import InputError
from trust.oci.url import parse_url
from trust.value import dataclass

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    Bucket = S3Store | GCSStore | AzureStore

CONNECT_SECONDS = 5
RETRIES = 4  # after 0.1, 0.2, 0.4 and 0.8 s, each with a random share
SCHEMES = ("s3", "gs", "az")

# What each cloud's tools read an endpoint of one's own from.
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, elsewhere than at AWS, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
# The hosts that S3 and its credentials need where no endpoint is set; with one, it and these of the credentials.
_AMAZON = ("amazonaws.com", "amazonaws.com.cn")
_AMAZON_CREDENTIALS = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23")
_AMAZON_ENDPOINTS = (
    *_ENDPOINTS["s3"],
    "AWS_ENDPOINT_URL_STS",
    "AWS_METADATA_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_PROXIES = ("AWS_PROXY_URL", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_NOWHERE = "http://127.0.0.1:0"
_ADDRESS = re.compile(r"//([a-z0-9][a-z0-9._-]{1,221})((?:/[A-Za-z0-9._=-]{1,200})*)/?", re.ASCII)
# What went wrong stands in the part that is written for programmers alone.
_CAUSES = {
    _NOWHERE.removeprefix("http://"): "it redirects to another host, which would be told the session token",
    "InvalidCertificate": "its certificate is not trusted here; SSL_CERT_FILE names authorities of one's own",
    "dns error": "no such host",
    "ConnectionRefused": "connection refused",
    "TimedOut": "no answer in time",
}
_STATUS = re.compile(r"status code: ([0-9]{3}[A-Za-z ]{0,40})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_URL = re.compile(r"\S{0,20}://\S+")
_READ_MAX = 4000  # characters of an error: an address of some 1,024 and what ours is made of; the rest is theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in which cloud the objects lie; ``prefix`` is without slashes at its ends."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"


def parse_place(url: str) -> Place:
    """Return the place that ``s3://BUCKET/PREFIX`` names, or the same with ``gs`` or ``az`` (a container).

    Raises:
        InputError: it names none.
    """
    scheme, _, rest = url.partition(":")
    match = _ADDRESS.fullmatch(rest)
    if scheme not in SCHEMES or match is None or {"..", "."} & set(match[2].split("/")):
        shown = scheme if scheme in SCHEMES else "|".join(SCHEMES)
        raise InputError(f"metadata address is malformed: expected {shown}://BUCKET/PREFIX, got {url[:200]!r}")
    return Place(scheme=scheme, bucket=match[1], prefix=match[2].strip("/"))


def allows_http(place: Place, environ: Mapping[str, str]) -> bool:
    """Tell whether an endpoint is plain HTTP on this machine.

    Raises:
        InputError: plain HTTP to another one; credentials and metadata would be anybody's.
    """
    allows = False
    for name in _ENDPOINTS[place.scheme]:
        if environ.get(name):
            url = parse_url(environ[name])
            if url.scheme == "http" and not url.names_loopback:
                raise InputError(f"plain HTTP refused: {name} is {url.origin}", hint="serve it over HTTPS")
            allows |= url.scheme == "http"
    return allows


def own_hosts(place: Place, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the only hosts that requests for ``place`` may go to; empty where there is no telling.

    The library follows redirects, and S3's session token goes along. It has no word against that, but one for
    hosts that need no proxy: with a proxy that is nowhere, no other host is reached. Where there is a proxy in
    earnest, which hosts are reached is its matter. Google and Azure are told secrets in ``Authorization`` alone,
    which goes to no second host.
    """
    if place.scheme != "s3" or any(environ.get(name) or environ.get(name.lower()) for name in _PROXIES):
        return ()
    hosts = {parse_url(environ[name]).host.strip("[]") for name in _AMAZON_ENDPOINTS if environ.get(name)}
    if not any(environ.get(name) for name in _ENDPOINTS["s3"]):
        return (*_AMAZON, *_AMAZON_CREDENTIALS, *sorted(hosts))
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return (f"sts.{region}.amazonaws.com", "sts.amazonaws.com", *_AMAZON_CREDENTIALS, *sorted(hosts))


def opened(place: Place, *, allow_http: bool, hosts: tuple[str, ...], request_seconds: int) -> Bucket:
    """Return what asks the place, each request for at most ``request_seconds``; nothing is asked yet.

    ``hosts`` are the only ones that are asked, unless empty.

    Raises:
        InputError: an address or credentials that obstore does not take.
    """
    from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415 - 15 ms and 16 MB, for these stores alone

    client: ClientConfig = {
        "allow_http": allow_http,
        "timeout": timedelta(seconds=request_seconds),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "user_agent": "content-trust",
    }
    if hosts:
        client |= {"proxy_url": _NOWHERE, "proxy_excludes": ",".join(hosts)}
    retry: RetryConfig = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=2 * request_seconds),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
    }
    prefix = place.prefix or None
    try:
        if place.scheme == "gs":
            return GCSStore(place.bucket, prefix=prefix, client_options=client, retry_config=retry)
        if place.scheme == "az":
            return AzureStore(place.bucket, prefix=prefix, client_options=client, retry_config=retry)
        return S3Store(place.bucket, prefix=prefix, client_options=client, retry_config=retry)
    except Exception as err:
        raise InputError(
            f"{place}: cannot be opened: {said(err)}", hint=f"set {CREDENTIALS[place.scheme]}"
        ) from err


def said(err: Exception) -> str:
    """Return what the server or the network said, in one line without the address."""
    whole = str(err)
    text = whole[:_READ_MAX].partition("\n\nDebug source")[0]
    status, code = _STATUS.search(text), code_of(err)
    if status:
        return f"got {status[1].strip()}{f' ({code})' if code else ''}"
    for word, meaning in _CAUSES.items():
        if word in whole:
            return meaning
    rest = text.rpartition("HTTP error: ")[2] if "HTTP error: " in text else _URL.sub("…", text)
    return " ".join("".join(c if c.isprintable() else " " for c in rest).split())[:200]


def code_of(err: Exception) -> str | None:
    """Return the store's own word for what went wrong, where it said one."""
    match = _CODE.search(str(err)[:_READ_MAX])
    return match[1] if match else None
