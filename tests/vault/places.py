"""A server to ask, with a mount of its own: the stub, or a real one."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import hvac

from tests.vault.bao import Address
from tests.vault.real import RealVault
from tests.vault.server import VaultStub

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
ENVELOPE = {"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"}


class Place:
    """Asks a server; `mount` is a mount that nobody else knows."""

    def __init__(self, server: VaultStub | RealVault) -> None:
        self.server = server
        self.name = f"t{secrets.token_hex(6)}"
        self.mount = self.name
        self._client = httpx.Client(trust_env=False, timeout=30, verify=False)

    def close(self) -> None:
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """Ask with the root token, unless there is another; an empty one is none."""
        given = self.server.root_token if token is None else token
        sent = ({"X-Vault-Token": given} if given else {}) | dict(headers or {})
        address = f"{self.server.address}/v1/{path}"
        return self._client.request(method, address, json=body, content=content, headers=sent)

    def data(self, path: str) -> str:
        return f"{self.mount}/data/{path}"

    def metadata(self, path: str) -> str:
        return f"{self.mount}/metadata/{path}"

    def write(self, path: str, data: Any, token: str | None = None, **options: Any) -> httpx.Response:
        body = {"data": data} | ({"options": options} if options else {})
        return self.ask("POST", self.data(path), body, token)

    def read(self, path: str, token: str | None = None) -> httpx.Response:
        return self.ask("GET", self.data(path), token=token)

    def patch(self, path: str, body: Any, token: str | None = None) -> httpx.Response:
        return self.ask("PATCH", path, body, token, MERGE_PATCH)

    def allow(self, rules: Mapping[str, list[str]], **options: Any) -> str:
        """Return a token with just these rules; paths are relative to the mount."""
        name = f"{self.name}-{secrets.token_hex(3)}"
        self.server.policy(name, {f"{self.mount}/{path}": words for path, words in rules.items()})
        return self.server.token([name], **options)

    def hvac(self, token: str | None = None, **options: Any) -> hvac.Client:
        client = hvac.Client(self.server.address, self.server.root_token if token is None else token, **options)
        client.session.trust_env = False
        return client


def errors(answer: httpx.Response) -> tuple[int, list[str]]:
    """Return the status of an answer, and what it says went wrong."""
    return answer.status_code, answer.json()["errors"]


@contextmanager
def place_at_stub() -> Iterator[Place]:
    """Open a place at a stub of its own."""
    with VaultStub() as stub:
        place = Place(stub)
        yield place
        place.close()


@contextmanager
def place_at_real(address: Address) -> Iterator[Place]:
    """Open a place at the real server, and take it away again."""
    real = RealVault(address)
    place = Place(real)
    try:
        yield place
    finally:
        place.close()
        real.close()
