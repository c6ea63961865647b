"""A secret as the kit wants it, and the few hands that the tests of the plugin share."""

import json
import secrets
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
import requests

from mushu.destination import Attempt, DestinationError, Receipt, Secret, Surroundings
from mushu.testing import Place
from mushu_vault import VaultDestination
from mushu_vault.connection import ServerAdapter
from tests.vault.real import RealVault
from tests.vault.server import VaultStub

FIELD = "MUSHU_API_KEY"
KEY = Secret("msk_test_0123456789abcdefghijklmnopqr")
NEXT = Secret("msk_test_rqponmlkjihgfedcba9876543210")
#: Enough for whatever a delivery does in the mount `secret`.
RULES = {"secret/data/*": ["create", "read", "update", "patch"], "secret/metadata/*": ["patch"]}
#: A value of somebody else, never to be shown.
FOREIGN = "s3cret-of-somebody-else"

#: Versions of the engine, and what may have become of a secret there.
STATES = [(2, "never"), (2, "there"), (2, "deleted"), (1, "never"), (1, "there")]

_NEIGHBOURS: dict[str, Any] = {
    "mushu_api_key": "lower case",
    f"{FIELD} ": "a blank",
    "": "no name",
    "empty": "",
    "nothing": None,
    "number": 1.25,
    "large": 9007199254740991,
    "yes": True,
    "nested": {"list": [1, None, {"x": None}], "<tag>": "&\u2028"},
    "ünï/☃": "🗝\n\t\x00",
}


class VaultPlace(Place):
    """One secret, looked at with all rights."""

    def __init__(self, vault: RealVault, mount: str, path: str) -> None:
        self._vault, self._mount, self._path, self._version = vault, mount, path, vault.versions[mount]

    def destination(self) -> VaultDestination:
        return destination(self._vault, f"{self._mount}/{self._path}")

    def hold(self, value: Secret) -> None:
        self._vault.put(self._mount, self._path, {**self.fields(), FIELD: value.reveal()})

    def stored(self) -> bytes:
        found = [self._vault.ask("GET", self._data), self._vault.ask("LIST", self._list)]
        if self._version == 2:
            found.append(self._vault.ask("GET", self._metadata))
        return json.dumps([answer.get("data") for answer in found]).encode()

    def add_neighbours(self) -> None:
        self._vault.put(self._mount, self._path, {**_NEIGHBOURS, **self.fields()})
        self._vault.put(self._mount, f"{self._path}-beside", {FIELD: "beside"})
        if self._version == 2:
            entries = {"custom_metadata": {"owner": "somebody"}, "max_versions": 7}
            self._vault.do("POST", self._metadata, entries)

    def neighbours(self) -> object:
        others = {name: value for name, value in self.fields().items() if name != FIELD}
        if not others:
            return None
        metadata = self._vault.ask("GET", self._metadata).get("data", {})
        entries = {
            name: value
            for name, value in (metadata.get("custom_metadata") or {}).items()
            if not name.startswith("mushu_")
        }
        beside = self._vault.ask("GET", f"{self._data}-beside").get("data")
        return others, entries, metadata.get("max_versions"), beside

    @contextmanager
    def lose_next_answer(self) -> Iterator[None]:
        with answers_lost(self._data):
            yield

    def fields(self) -> dict[str, Any]:
        """Return what a client of the secret gets."""
        data = self._vault.ask("GET", self._data).get("data")
        found = (data or {}).get("data") if self._version == 2 else data
        return dict(found or {})

    @property
    def _data(self) -> str:
        return self._vault.data(self._mount, self._path)

    @property
    def _metadata(self) -> str:
        return f"{self._mount}/metadata/{self._path}"

    @property
    def _list(self) -> str:
        folder = self._path.rpartition("/")[0]
        return f"{self._mount}/metadata/{folder}" if self._version == 2 else f"{self._mount}/{folder}"


def destination(server: RealVault, path: str, field: str = FIELD, **settings: str) -> VaultDestination:
    """Return the destination for `field` of the secret at `path`, with all rights unless told otherwise."""
    mine = {"addr": server.address, "token": server.root_token, **settings}
    if "role_id" in settings or "auth" in settings:
        del mine["token"]
    made = VaultDestination.parse(f"vault:{quote(path)}#{quote(field, safe='')}", Surroundings(Path("/nowhere"), mine))
    assert made is not None
    return made


def deliver(place: VaultDestination, secret: Secret = KEY, key_id: str = "key_1") -> Receipt:
    """Write `secret` as a caller does that has just looked."""
    return place.write(secret, Attempt("att_1", key_id, place.read().version))


def refused(
    act: Callable[[], object],
    match: str | None = None,
    *,
    permanent: bool | None = None,
    kind: type[DestinationError] = DestinationError,
    hidden: str = "",
) -> str:
    """Return what `act` is refused with; what it was made from does not hang on it, and `hidden` is nowhere in it."""
    with pytest.raises(kind, match=match) as caught:
        act()
    assert permanent in (None, caught.value.permanent)
    assert caught.value.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("mushu_vault")]
    assert ours
    assert not hidden or not [frame for frame in ours if hidden in f"{frame.f_locals} {caught.value}"]
    return str(caught.value)


def at(version: str) -> Attempt:
    """Return the attempt of a caller that has seen `version`."""
    return Attempt("att_1", "key_1", version)


@contextmanager
def answers_lost(path: str, times: int = 1) -> Iterator[None]:
    """Let `times` changes of `path` be carried out, and their answers never arrive."""
    left = [times]
    real = ServerAdapter.send

    def send(adapter: ServerAdapter, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        response = real(adapter, request, **named)
        if (
            left[0]
            and request.method in ("POST", "PATCH", "DELETE")
            and str(request.url).endswith(f"/v1/{quote(path)}")
        ):
            left[0] -= 1
            response.close()
            raise requests.ConnectionError
        return response

    with mock.patch.object(ServerAdapter, "send", send):
        yield
    assert left[0] < times, f"nothing was written to {path}, so no answer could be lost"


def data_path(mount: str, path: str = "apps/backend") -> str:
    """Return where the API has the data of a secret in one of the two mounts of the stub."""
    return f"{mount}/data/{path}" if mount == "secret" else f"{mount}/{path}"


def hasty(stub: VaultStub, mount: str = "secret", **settings: str) -> VaultDestination:
    """Return a destination in one of the two mounts of the stub that does not wait for long."""
    return destination(stub, f"{mount}/apps/backend", timeout="1", **settings)


def begun_write(stub: VaultStub, mount: str) -> Callable[[], Receipt]:
    """Return the second half of a delivery, after the caller has looked."""
    place = hasty(stub, mount)
    attempt = at(place.read().version)
    return lambda: place.write(KEY, attempt)


def fields_of(vault: RealVault, mount: str, version: int = 0) -> Any:
    """Return the fields of `apps/backend`, in its newest version unless another is named."""
    found: Any = vault.ask("GET", vault.data(mount, "apps/backend"), version=version).get("data")
    return found if vault.versions[mount] == 1 else found["data"]


def backend(**settings: str) -> VaultDestination:
    """Return a destination that has just these settings."""
    made = VaultDestination.parse("vault:secret/apps/backend", Surroundings(Path("/nowhere"), settings))
    assert made is not None
    return made


def role_of(stub: VaultStub, policy: str, role: str = "backend", **wanted: Any) -> dict[str, str]:
    """Return the settings with which a role logs in."""
    role_id, secret_id = stub.approle(role, [policy], **wanted)
    return {"addr": stub.address, "role_id": role_id, "secret_id": secret_id}


def private(path: Path, text: str) -> str:
    """Write `text` to a file that nobody else can read, and return its path."""
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def logins(stub: VaultStub) -> int:
    """Return how often somebody logged in."""
    return sum(request.path.endswith("/login") for request in stub.requests)


def prepared(vault: RealVault, version: int, state: str) -> str:
    """Return a new mount of a version, with `apps/backend` in one of `STATES`."""
    mount = f"mushu-{secrets.token_hex(4)}"
    vault.mount(mount, version)
    if state != "never":
        vault.put(mount, "apps/backend", {"OTHER": "1"})
    if state == "deleted":
        vault.do("DELETE", vault.data(mount, "apps/backend"))
    if state == "destroyed":
        vault.do("POST", f"{mount}/destroy/apps/backend", {"versions": [1]})
    return mount


def metadata_of(vault: RealVault, mount: str) -> dict[str, Any]:
    """Return the metadata of `apps/backend`."""
    return dict(vault.ask("GET", f"{mount}/metadata/apps/backend")["data"])
