"""Each way in which the network fails has its own sentence, and none of them carries the token."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from mushu.cli.client.connection import unreachable
from mushu.cli.request_credential import of_login
from mushu.testing.leaks import traces
from tests.cli.certificates import certificates
from tests.cli.conftest import TOKEN, Mushu, log_in
from tests.cli.stub import Stub, Told, serving


@contextmanager
def _speaking(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Accept connections and do with each what `answer` does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _fails(mushu: Mushu, url: str, *arguments: str) -> str:
    log_in(url)
    ran = mushu("org", "list", "--url", url, *arguments).fails()
    assert TOKEN not in ran.stderr
    assert ran.stderr.startswith("Error: ")
    return ran.stderr


def test_nobody_listening_has_its_sentence(mushu: Mushu) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert f"Nothing listens at {url}. Start the server there, or name another" in _fails(mushu, url)


@pytest.mark.parametrize("arguments", [("https://mushu.invalid",), ("http://mushu.invalid", "--insecure")])
def test_an_unknown_name_has_its_sentence(
    mushu: Mushu, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Also where plain http to another machine is insisted on."""

    def unknown(*arguments: object, **named: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = _fails(mushu, *arguments)
    assert "No machine is known by the name mushu.invalid. Check the spelling" in said


@pytest.mark.parametrize(
    ("certificate", "trusted", "sentence"),
    [
        ("own", None, "is self-signed, or signed by an authority that this machine does not know."),
        ("other-host", "other-host.pem", "is for another host."),
        ("expired", "expired.pem", "has expired."),
        ("own", "key.pem", "holds no certificate that can be read. --ca takes a file in PEM form."),
    ],
    ids=["own", "other host", "expired", "no certificate"],
)
def test_what_is_wrong_with_a_certificate_has_its_sentence_and_the_token_is_not_sent(
    mushu: Mushu, certificate: str, trusted: str | None, sentence: str
) -> None:
    with serving(certificate) as stub:
        said = _fails(mushu, stub.url, *(["--ca", str(certificates() / trusted)] if trusted else []))
        assert sentence in said
        assert stub.asked == []


def test_a_self_signed_certificate_that_is_named_is_trusted(mushu: Mushu, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("own") as stub:
        stub.tell("GET", "/orgs", {"orgs": []})
        log_in(stub.url)
        own = str(certificates() / "own.pem")
        assert mushu("org", "list", "--url", stub.url, "--ca", own).code == 0
        monkeypatch.setenv("SSL_CERT_FILE", own)
        assert mushu("org", "list", "--url", stub.url).code == 0


def _numbered(code: int) -> ssl.SSLCertVerificationError:
    fault = ssl.SSLCertVerificationError("x")
    fault.verify_code = code
    return fault


def _named(reason: str) -> ssl.SSLError:
    fault = ssl.SSLError(1, "x")
    fault.reason = reason
    return fault


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (_numbered(23), "The certificate of https://a is not valid (OpenSSL says 23). Replace it on the server."),
        (_named("UNSUPPORTED_PROTOCOL"), "to https://a is possible (OpenSSL says UNSUPPORTED_PROTOCOL)."),
        (OSError("x"), "https://a cannot be reached (ConnectError)."),
    ],
)
def test_any_other_fault_has_a_sentence_too(fault: Exception, sentence: str) -> None:
    error = httpx.ConnectError("x")
    error.__cause__ = fault
    assert sentence in unreachable(error, "https://a").message


def _greet(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    connection.recv(65536)


def test_a_server_that_hangs_up_or_speaks_no_http_or_no_tls_has_its_sentence(mushu: Mushu, stub: Stub) -> None:
    with _speaking(_greet) as address:
        assert "does not speak HTTP, or broke off" in _fails(mushu, f"http://{address}")
    with _speaking(lambda connection: None) as address:
        said = _fails(mushu, f"http://{address}")
        assert "does not speak HTTP, or broke off" in said or "cannot be reached" in said
    assert "does not speak TLS" in _fails(mushu, stub.url.replace("http:", "https:"))


def test_a_server_that_does_not_answer_has_its_sentence(mushu: Mushu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.cli.client.api._TIMEOUT", httpx.Timeout(0.2))
    release = threading.Event()
    with _speaking(lambda connection: release.wait(10)) as address:
        said = _fails(mushu, f"http://{address}")
        release.set()
    assert "does not answer in time" in said


def test_a_server_that_answers_too_slowly_is_given_up(mushu: Mushu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.cli.client.api._WHOLE_ANSWER", 0.0)
    with serving() as stub:
        stub.tell("GET", "/orgs", {"orgs": []})
        assert "answers too slowly" in _fails(mushu, stub.url)


def test_a_proxy_that_refuses_has_its_sentence() -> None:
    said = unreachable(httpx.ProxyError("407"), "https://a").message
    assert said == "The proxy on the way to https://a refused. See HTTPS_PROXY, or except the host in NO_PROXY."


def test_a_proxy_that_cannot_be_used_has_its_sentence(mushu: Mushu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1:70")
    assert "names cannot be used. Correct it, or unset it." in _fails(mushu, "https://mushu.invalid")


def test_what_goes_to_this_machine_goes_through_no_proxy(
    mushu: Mushu, asking: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking.tell("GET", "/orgs", {"orgs": []})
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert mushu("org", "list").code == 0
        assert proxy.asked == []


@pytest.mark.parametrize("command", [["org", "list"], ["auth", "login"], ["auth", "status"]])
def test_plain_http_to_another_machine_is_refused(mushu: Mushu, command: list[str]) -> None:
    log_in("http://mushu.invalid")
    mushu(*command, "--url", "http://mushu.invalid").fails(
        "http://mushu.invalid is plain http", "Use https://, or add --insecure"
    )


def test_no_failure_carries_the_token_or_the_password(stub: Stub) -> None:
    """Not in a traceback with locals, nor behind it."""
    from mushu.cli.client.api import Api
    from mushu.cli.client.connection import ServerAddress
    from mushu.cli.errors import Failure
    from mushu.secret import Secret

    password = "correct horse battery"
    stub.tell("POST", "/huge", Told(b"x" * (9 << 20)))
    stub.tell("POST", "/html", Told(f"<p>{TOKEN}".encode(), 200, {"Content-Type": "text/html"}))
    stub.tell("POST", "/no", Told({"code": "no", "detail": f"No, {TOKEN[:4]}"}, 403))
    for url, path in [(stub.url, "huge"), (stub.url, "html"), (stub.url, "no"), ("http://127.0.0.1:1", "x")]:
        api = Api(ServerAddress(url, None, "mushu auth login"), of_login(Secret(TOKEN)))
        with pytest.raises(Failure) as caught:
            _post(api, path, Secret(password))
        api.close()
        trace = caught.value.__traceback__
        caught.value.__traceback__ = trace.tb_next if trace else None  # this test's own frame holds both
        assert not [text for text in traces(caught.value) if TOKEN in text or password in text]


def _post(api: object, path: str, password: object) -> None:
    api.post(path, body={"password": password})  # type: ignore[attr-defined]
