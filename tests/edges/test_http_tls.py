"""Whose certificates are believed."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from tests.simulators.authority import Authority
from tests.simulators.network import ELSEWHERE, SimulatedNetwork
from tests.simulators.wire import Exchange, WireServer, answer
from trust.deadline import Deadline, deadline_in
from trust.errors import InputError, UnreachableError
from trust.oci.errors import UntrustedCertificateError
from trust.oci.http import Http
from trust.oci.message import Response

HOST = "registry.example.com"


def soon() -> Deadline:
    return deadline_in(10, time.monotonic)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def hello(exchange: Exchange) -> None:
    exchange.answer(200, b"hello")


def get(
    server: WireServer, *, certificate_file: Path | None = None, certs: Path | None = None, port: int = 443
) -> Response:
    network = SimulatedNetwork(names={HOST: [ELSEWHERE]}, doors={ELSEWHERE: server.port})
    environ = {"SSL_CERT_FILE": str(certificate_file)} if certificate_file is not None else {}
    with Http(environ=environ, network=network, certs_directory=certs or Path("/nonexistent")) as http:
        return http.request("GET", f"https://{HOST}:{port}/", max_bytes=100, deadline=soon())


def test_authority_of_ssl_cert_file_is_trusted(authority: Authority) -> None:
    with WireServer(script=hello, tls=authority.server_context(HOST)) as server:
        assert get(server, certificate_file=authority.certificate).body == b"hello"


def test_unknown_authority_is_refused_with_the_place_to_put_it(authority: Authority) -> None:
    with (
        WireServer(script=hello, tls=authority.server_context(HOST)) as server,
        pytest.raises(UntrustedCertificateError) as caught,
    ):
        get(server)
    assert f"/etc/docker/certs.d/{HOST}/ca.crt" in str(caught.value.hint)
    assert server.requests == []


def test_certificate_of_another_name_is_refused(authority: Authority) -> None:
    with (
        WireServer(script=hello, tls=authority.server_context("other.example.com")) as server,
        pytest.raises(UntrustedCertificateError, match=r"(?i)hostname mismatch"),
    ):
        get(server, certificate_file=authority.certificate)
    assert server.requests == []


@pytest.mark.parametrize(("directory", "port"), [(HOST, 443), (f"{HOST}:443", 443), (f"{HOST}:5000", 5000)])
def test_authority_of_certs_d_is_trusted_for_its_host(
    authority: Authority, tmp_path: Path, directory: str, port: int
) -> None:
    (tmp_path / directory).mkdir()
    (tmp_path / directory / "ca.crt").write_bytes(authority.certificate.read_bytes())
    with WireServer(script=hello, tls=authority.server_context(HOST)) as server:
        assert get(server, certs=tmp_path, port=port).body == b"hello"


@pytest.mark.parametrize("directory", ["other.example.com", f"{HOST}:5000"])
def test_authority_of_certs_d_is_not_trusted_for_another_host(
    authority: Authority, tmp_path: Path, directory: str
) -> None:
    (tmp_path / directory).mkdir()
    (tmp_path / directory / "ca.crt").write_bytes(authority.certificate.read_bytes())
    with (
        WireServer(script=hello, tls=authority.server_context(HOST)) as server,
        pytest.raises(UntrustedCertificateError),
    ):
        get(server, certs=tmp_path)


def test_client_certificate_of_certs_d_is_shown(authority: Authority, tmp_path: Path) -> None:
    context = authority.server_context(HOST)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)
    certificate, key = authority.issue("client.example.com")
    place = tmp_path / HOST
    place.mkdir()
    (place / "ca.crt").write_bytes(authority.certificate.read_bytes())
    with WireServer(script=hello, tls=context) as server:
        with pytest.raises(UnreachableError):
            get(server, certs=tmp_path)
        (place / "client.cert").write_bytes(certificate.read_bytes())
        (place / "client.key").write_bytes(key.read_bytes())
        assert get(server, certs=tmp_path).body == b"hello"


def test_client_certificate_without_its_key_is_bad_input(authority: Authority, tmp_path: Path) -> None:
    place = tmp_path / HOST
    place.mkdir()
    (place / "client.cert").write_bytes(authority.issue("client.example.com")[0].read_bytes())
    with (
        WireServer(script=hello, tls=authority.server_context(HOST)) as server,
        pytest.raises(InputError, match="client certificate"),
    ):
        get(server, certs=tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_unusable_ssl_cert_file_is_bad_input(authority: Authority, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with (
        WireServer(script=hello, tls=authority.server_context(HOST)) as server,
        pytest.raises(InputError, match="certificate file is unusable"),
    ):
        get(server, certificate_file=path)


def test_old_tls_is_refused(authority: Authority) -> None:
    context = authority.server_context(HOST)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with WireServer(script=hello, tls=context) as server, pytest.raises(UnreachableError, match="no TLS"):
        get(server, certificate_file=authority.certificate)


def test_server_that_speaks_no_tls_is_refused() -> None:
    with WireServer(script=hello) as server, pytest.raises(UnreachableError, match="no TLS"):
        get(server)


def test_tls_body_cut_off_without_a_proper_end_is_never_a_short_success(authority: Authority) -> None:
    """Truncation attack: whoever is on the line can end TCP, not TLS; without a length only TLS tells."""

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\nhel")
        exchange.end()  # closes the socket, and sends no close_notify

    with (
        WireServer(script=script, tls=authority.server_context(HOST)) as server,
        pytest.raises(UnreachableError, match="broke"),
    ):
        get(server, certificate_file=authority.certificate)


def test_answer_that_nobody_asked_for_is_not_taken_for_the_next_one_in_tls(authority: Authority) -> None:
    """The second answer came in the record of the first: the socket is quiet, TLS holds it."""
    body = b"x" * 9000  # more than is read ahead with a head
    poisoned = [answer(200, body) + answer(200, b"evil"), answer(200, b"next")]
    with (
        WireServer(
            script=lambda exchange: exchange.send(poisoned.pop(0)), tls=authority.server_context("127.0.0.1")
        ) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}) as http,
    ):
        assert http.request("GET", server.url, max_bytes=9000, deadline=soon()).body == body
        assert http.request("GET", server.url, max_bytes=9000, deadline=soon()).body == b"next"


def test_connection_is_kept_in_tls(authority: Authority) -> None:
    with (
        WireServer(script=hello, tls=authority.server_context("127.0.0.1")) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}) as http,
    ):
        for _ in range(4):
            http.request("GET", server.url, max_bytes=100, deadline=soon())
        assert server.connections <= 2  # the first may be given up over the session tickets that follow it
