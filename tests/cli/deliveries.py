"""A server that takes part in the delivery by a client, as far as the client can see it; and plugins to deliver to."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mushu.destination import (
    Attempt,
    Conflict,
    Destination,
    DestinationError,
    Holding,
    Receipt,
    Secret,
    Surroundings,
    digest_of,
)
from mushu.keyformat import Prefix, generate
from mushu_dotenv.destination import machine_from
from tests.cli.conftest import ORG, Mushu
from tests.cli.stub import Asked, Stub, Told, problem
from tests.ran import Ran

KEY_ID = "key_2x7kq4m5znb3"
OLD_ID = "key_4c6dq2m5znb3"
CREATE = ("api-key", "create", "--name", "backend", "--org", ORG)
PATHS = {"live": f"/orgs/{ORG}/api-keys", "test": f"/sandbox/orgs/{ORG}/api-keys"}


def no_such_key(asked: Asked) -> Told:
    return problem(404, "key_not_found", f"There is no such key at {asked.path}.")


def proof(place: str, secret: Secret) -> dict[str, str]:
    """What a client reports of a place on this machine."""
    return {"place": place, "digest": secret.digest(), "location": machine_from({}).identity}


@dataclass
class Authority:
    """Issues one key, pending until its digest is reported; and knows keys by their digests."""

    stub: Stub
    environment: str = "live"
    state: str = "none"
    #: What is answered to a look-up, by digest.
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    secret: Secret = field(init=False)
    #: Called when the delivery is reported, before it is judged.
    on_report: Callable[[Asked], Told | None] = lambda asked: None

    def __post_init__(self) -> None:
        self.secret = generate(Prefix.LIVE_KEY if self.environment == "live" else Prefix.TEST_KEY)
        path = PATHS[self.environment]
        self.stub.tell("POST", path, self._create)
        self.stub.tell("POST", f"{path}/{KEY_ID}/delivered", self._delivered)
        self.stub.tell("DELETE", f"{path}/{KEY_ID}", self._delete)
        self.stub.tell("GET", f"{path}/{KEY_ID}", lambda asked: Told(self._shown()))
        for side, answer in (
            (path, self._look_up),
            *((other, no_such_key) for other in PATHS.values() if other != path),
        ):
            self.stub.tell("POST", f"{side}/lookup", answer)

    def knows(self, value: str, **key: str) -> None:
        """Let a value be that of a key."""
        self.known[digest_of(value)] = {"key_id": OLD_ID, "state": "active"} | key

    @property
    def reports(self) -> list[Asked]:
        return self.stub.asked_for("POST", f"{PATHS[self.environment]}/{KEY_ID}/delivered")

    def _create(self, asked: Asked) -> Told:
        assert asked.json["delivery"] == "client"
        self.state = "pending"
        return Told(self.created())

    def created(self) -> dict[str, Any]:
        return {
            "key_id": KEY_ID, "key": self.secret.reveal(), "name": "backend", "scopes": ["read", "write"],
            "created_at": "2026-01-15T10:30:00Z", "environment": self.environment,
            "confirm_by": "2026-01-15T10:40:00Z",
        }  # fmt: skip

    def _shown(self) -> dict[str, Any]:
        return {"key_id": KEY_ID, "name": "backend", "state": self.state}

    def _delivered(self, asked: Asked) -> Told:
        answer = self.on_report(asked)
        if answer is not None:
            return answer
        if self.state != "pending":
            return problem(409, "wrong_state", f"{KEY_ID} is {self.state}.")
        if {proof["digest"] for proof in asked.json["deliveries"]} != {self.secret.digest()}:
            return problem(409, "not_delivered", "The digest is not that of the key.")
        self.state = "active"
        return Told(self._shown())

    def _delete(self, asked: Asked) -> Told:
        self.state = "revoked"
        return Told({"deleted": True})

    def _look_up(self, asked: Asked) -> Told:
        found = self.known.get(asked.json["digest"])
        return Told(found) if found is not None else no_such_key(asked)


@dataclass
class RotatingAuthority(Authority):
    """Has one active key, `OLD_ID`, and issues its successor."""

    old: Secret = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.old = generate(Prefix.LIVE_KEY if self.environment == "live" else Prefix.TEST_KEY)
        self.knows(self.old.reveal())
        for side in PATHS.values():
            self.stub.tell("GET", f"{side}/{OLD_ID}", no_such_key)
        path = PATHS[self.environment]
        self.stub.tell("GET", f"{path}/{OLD_ID}", {"key_id": OLD_ID, "state": "active"})
        self.stub.tell("POST", f"{path}/{OLD_ID}/rotate", self._create)

    @property
    def rotations(self) -> list[Asked]:
        return self.stub.asked_for("POST", f"{PATHS[self.environment]}/{OLD_ID}/rotate")

    def created(self) -> dict[str, Any]:
        return super().created() | {"replaces": OLD_ID}


@dataclass
class Drawer:
    """What one `drawer:` destination holds, and how it fails."""

    value: str | None = None
    version: int = 0
    #: By phase, the errors to raise, first to last; None lets a call through.
    faults: dict[str, list[BaseException | None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def fault(self, phase: str) -> None:
        self.calls.append(phase)
        following = self.faults.get(phase, [])
        error = following.pop(0) if following else None
        if error is not None:
            raise error

    def put(self, value: str | None) -> None:
        self.value, self.version = value, self.version + 1


DRAWERS: dict[str, Drawer] = {}


class DrawerDestination(Destination):
    """A destination in memory, found by its name behind `drawer:`."""

    scheme = "drawer"

    def __init__(self, name: str, settings: object) -> None:
        self.name = name
        self.settings = settings
        self.drawer = DRAWERS.setdefault(name, Drawer())

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> "DrawerDestination | None":
        name = uri.removeprefix("drawer:")
        if name == "bad":
            raise DestinationError("Drawers have better names.", permanent=True)
        if name == "broken":
            raise RuntimeError(uri)
        return cls(name, surroundings.settings)

    @property
    def uri(self) -> str:
        return f"drawer:{self.name}"

    def preflight(self) -> None:
        self.drawer.fault("preflight")

    def read(self) -> Holding:
        self.drawer.fault("read")
        value = self.drawer.value
        return Holding(str(self.drawer.version), Secret(value).digest() if value else None)

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        self.drawer.fault("write")
        if secret.matches(Secret(self.drawer.value).digest() if self.drawer.value else None):
            return Receipt(str(self.drawer.version), secret.digest())
        if attempt.expected_version != str(self.drawer.version):
            raise Conflict("Somebody else wrote here.")
        former = self.drawer.value
        self.drawer.put(secret.reveal())
        self.drawer.fault("written")
        return Receipt(str(self.drawer.version), secret.digest(), Secret(former or ""))

    def restore(self, receipt: Receipt) -> bool:
        self.drawer.fault("restore")
        if receipt.undo is None:
            raise DestinationError("Nothing to go back to.", permanent=True)
        if not self.drawer.value or Secret(self.drawer.value).digest() != receipt.digest:
            return False
        self.drawer.put(receipt.undo.reveal() or None)
        return True

    def remove(self, digest: str) -> bool:
        self.drawer.fault("remove")
        if self.drawer.value and Secret(self.drawer.value).digest() == digest:
            self.drawer.put(None)
            return True
        return False


@dataclass
class Desk:
    """A command that creates a key, the server it asks, and the destination `drawer:desk`."""

    mushu: Mushu
    authority: Authority
    drawer: Drawer

    def create(self, *more: str, to: str = "drawer:desk") -> Ran:
        return self.mushu(*CREATE, "--to", to, *more)


class Gate:
    """Holds up the answer to a report until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, asked: Asked) -> Told | None:
        self.reached.set()
        self._open.wait(30)
        return None

    def open(self) -> None:
        self._open.set()
