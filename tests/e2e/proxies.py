"""Real proxies, with the configurations that docs/behind-a-proxy.md shows, on ports of loopback."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.conftest import ROOT, clean_environment, free_port

PAGE: Final = ROOT / "docs" / "behind-a-proxy.md"
#: Programs by the language of their block on the page; nginx is in a folder that not every account searches.
PROGRAMS: Final = {
    name: shutil.which(name) or shutil.which(name, path="/usr/sbin") for name in ("nginx", "caddy", "haproxy")
}


def configurations(language: str, page: Path = PAGE) -> list[str]:
    """Return the blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Prepared:
    """A proxy that is ready to start."""

    command: list[str]
    port: int


def prepare(name: str, folder: Path, server_port: int, page: Path) -> Prepared:
    """Write the configuration of the page, with the ports of this test and without TLS."""
    port, program = free_port(), PROGRAMS[name]
    assert program is not None
    [block] = configurations({"nginx": "nginx", "caddy": "caddyfile", "haproxy": "haproxy"}[name], page)
    assert "127.0.0.1:8000" in block
    block = block.replace("127.0.0.1:8000", f"127.0.0.1:{server_port}")
    file = folder / f"{name}.conf"
    match name:
        case "nginx":
            block = re.sub(r"^ *ssl_.*\n", "", block, flags=re.MULTILINE)
            block = _replaced(block, "listen 443 ssl;", f"listen 127.0.0.1:{port};")
            (folder / "logs").mkdir()
            places = "".join(
                f"{kind}_temp_path {kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            head = "pid nginx.pid; error_log stderr warn; daemon off; events {}\n"
            file.write_text(f"{head}http {{ access_log off; {places}\n{block}}}\n")
            command = [program, "-p", str(folder), "-c", str(file)]
        case "caddy":
            block = _replaced(block, "keys.example.com {", f"http://:{port} {{\n\tbind 127.0.0.1")
            file.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{block}")
            command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
        case _:
            file.write_text(re.sub(r"bind :443 ssl .*", f"bind 127.0.0.1:{port}", block))
            command = [program, "-f", str(file)]
    return Prepared(command, port)


@contextmanager
def running(name: str, folder: Path, server_port: int, page: Path = PAGE) -> Iterator[int]:
    """Run the proxy in front of a server; provide its port."""
    folder.mkdir()
    prepared, output = prepare(name, folder, server_port, page), folder / "output"
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
