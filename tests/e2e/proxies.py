"""Real proxies, with the configurations that pages of docs/ show, on ports of loopback."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from tests.e2e.conftest import ROOT, Server, clean_environment, free_port

PAGE: Final = ROOT / "docs" / "behind-a-proxy.md"
#: Of the pages: Mushu, and a service that it protects.
MUSHU, SERVICE = "127.0.0.1:8000", "127.0.0.1:9000"
#: Programs by their names; nginx is in a folder that not every account searches, some are brought by a package.
PROGRAMS: Final = {
    name: shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]))
    for name in ("nginx", "caddy", "haproxy", "traefik", "envoy")
}
#: Where the tests ask from: not the address of the proxy, as the server sees it.
SOURCE: Final = "127.0.0.2"
_PASSWORD: Final = "correct horse battery"
Headers = list[tuple[str, str]]
_LANGUAGES: Final = {"nginx": "nginx", "caddy": "caddyfile", "haproxy": "haproxy", "traefik": "toml", "envoy": "yaml"}


def ask(port: int, method: str, path: str, headers: Headers, body: object = None) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30, source_address=(SOURCE, 0))
    try:
        content = b"" if body is None else json.dumps(body).encode()
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        sent = headers if any(name == "Host" for name, _ in headers) else [("Host", "keys.example.com"), *headers]
        if body is not None:
            sent = [*sent, ("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        for name, value in sent:
            connection.putheader(name, value)
        connection.endheaders(content)
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text and "json" in response.headers.get("Content-Type", "") else {}
    finally:
        connection.close()


@dataclass(frozen=True)
class Owner:
    """An organization of its own for each test, and what its owner proves themselves with."""

    server: Server
    org: str
    credential: Headers

    def key(self, name: str, *scopes: str, prefix: str = "") -> str:
        asked = {"name": name} | ({"scopes": scopes} if scopes else {})
        key: str = ask(self.server.port, "POST", f"{prefix}/orgs/{self.org}/api-keys", self.credential, asked)[1]["key"]
        return key


def set_password(server: Server) -> None:
    server.flask("users", "set-password", "owner@localhost", "--password-stdin", stdin=f"{_PASSWORD}\n")


def owner_on(server: Server) -> Owner:
    """Return a new organization, whose owner has the password that was set."""
    _, answered = ask(server.port, "POST", "/auth/login", [], {"email": "owner@localhost", "password": _PASSWORD})
    credential = [("Authorization", f"Bearer {answered['access_token']}")]
    return Owner(server, ask(server.port, "POST", "/orgs", credential, {"name": "acme"})[1]["org_id"], credential)


def configurations(language: str, page: Path = PAGE) -> list[str]:
    """Return the blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Prepared:
    """A proxy that is ready to start."""

    command: list[str]
    port: int


def prepare(name: str, folder: Path, ports: Mapping[str, int], page: Path) -> Prepared:
    """Write the configuration of the page, with the ports of this test and without TLS.

    Args:
        ports: what stands for an address of the page.
    """
    port, program = free_port(), PROGRAMS[name]
    assert program is not None
    block, *more = [_here(block, ports) for block in configurations(_LANGUAGES[name], page)]
    file = folder / f"{name}.conf"
    match name:
        case "nginx":
            block = re.sub(r"^ *ssl_.*\n", "", block, flags=re.MULTILINE)
            block = _replaced(block, "listen 443 ssl;", f"listen 127.0.0.1:{port};")
            (folder / "logs").mkdir()
            places = "".join(
                f"{kind}_temp_path {kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            if SERVICE in ports:  # a cache that keeps all that nothing forbids
                places += "proxy_cache_path cache keys_zone=all:1m; proxy_cache all; proxy_cache_valid 200 401 403 1m; "
            who = "user root; " if os.geteuid() == 0 else ""  # or nobody could write into the folder
            head = f"{who}pid nginx.pid; error_log stderr warn; daemon off; events {{}}\n"
            block = f"{head}http {{ access_log off; {places}\n{block}}}\n"
            command = [program, "-p", str(folder), "-c", str(file)]
        case "caddy":
            block, sites = re.subn(r"^\w+\.example\.com {", f"http://:{port} {{\n\tbind 127.0.0.1", block)
            assert sites == 1
            block = f"{{\n\tadmin off\n\tauto_https off\n}}\n{block}"
            command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
        case "haproxy":
            block = re.sub(r"bind :443 ssl .*", f"bind 127.0.0.1:{port}", block)
            for script in configurations("lua", page):
                (folder / "mushu.lua").write_text(_here(script, ports))
                block = _replaced(block, "/etc/haproxy/mushu.lua", str(folder / "mushu.lua"))
            command = [program, "-f", str(file)]
        case "traefik":
            file = folder / "traefik.toml"
            (folder / "dynamic.toml").write_text(more[0])
            block = _replaced(block, "/etc/traefik/dynamic.toml", str(folder / "dynamic.toml"))
            block = _replaced(block, '":443"', f'"127.0.0.1:{port}"')
            command = [program, f"--configFile={file}"]
        case _:
            file = folder / "envoy.yaml"
            block = _replaced(block, "0.0.0.0, port_value: 443", f"127.0.0.1, port_value: {port}")
            command = [program, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
    file.write_text(block)
    return Prepared(command, port)


def _here(block: str, ports: Mapping[str, int]) -> str:
    for address, port in ports.items():
        host, _, number = address.partition(":")
        block = block.replace(address, f"{host}:{port}").replace(
            f"address: {host}, port_value: {number} ", f"address: {host}, port_value: {port} "
        )
    return block


@contextmanager
def running(name: str, folder: Path, ports: Mapping[str, int], page: Path = PAGE) -> Iterator[int]:
    """Run the proxy in front of what listens on these ports; provide its own."""
    folder.mkdir()
    prepared, output = prepare(name, folder, ports, page), folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            prepared.command, env=clean_environment(folder), stdout=file, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        _wait_for(prepared.port, process, output)
        yield prepared.port
    finally:
        process.terminate()
        process.wait(timeout=20)
        print(output.read_text())  # which pytest shows where the test failed


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def _wait_for(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    for _ in range(400):
        assert process.poll() is None, output.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the proxy was not up in time:\n{output.read_text()}")
