"""A stage for killing: a real database, real `.env` files, a Vault; what is done there, and a look at what is left."""

import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from mushu.destination import Attempt, Destination, DestinationError, Receipt, Secret, Surroundings
from mushu.server.audit import SYSTEM
from mushu.server.db import prepare_engine, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.reconciler import Finding
from mushu.server.errors import DeliveryFailed
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.retirement import note_first_uses
from mushu.server.keys.rotation import Terms
from mushu.server.keys.selection import Selection
from mushu.server.keys.service import iterate_keys
from mushu.server.keys.states import DEAD
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.orgs.service import create_org
from mushu.server.users.service import create_user
from mushu_dotenv import DotenvDestination
from mushu_vault import VaultDestination
from tests.conftest import TurnableClock
from tests.server.delivery.conftest import LEASE
from tests.server.verbs import issue_to, succeed
from tests.vault.server import VaultStub

NEIGHBOURS: Final = "# who works here\r\nexport DATABASE='postgres://db'\nEMPTY=\n\nLAST=last"
VAULT_URI: Final = "vault:secret/apps/backend#MUSHU_API_KEY"
VAULT_NEIGHBOURS: Final = {"DATABASE": "postgres://db", "odd": {"n": [1, None, "ü"]}, "": "x"}
SETTLE: Final = timedelta(hours=1)
_METHODS: Final = ("preflight", "read", "write", "restore", "remove")

Notice = Callable[[str], None]


PLUGINS: Final[tuple[type[Destination], ...]] = (DotenvDestination, VaultDestination)


def opened(uri: str, vault: VaultStub | None = None) -> Destination:
    """Open a URI as `open_destination` does, without a search through all that is installed."""
    settings = {"addr": vault.address, "token": vault.root_token} if vault is not None else {}
    found = (plugin.parse(uri, Surroundings(Path("/"), settings)) for plugin in PLUGINS)
    return next(destination for destination in found if destination is not None)


@dataclass
class Process:
    """One run of Mushu: a session of its own, like a command."""

    engine: Engine
    clock: TurnableClock
    org_id: str
    vault: VaultStub | None = None
    session: Session = field(init=False)

    def __post_init__(self) -> None:
        self.session = Session(self.engine, autobegin=False, expire_on_commit=False)

    def open(self, uri: str) -> Destination:
        return opened(uri, self.vault)

    @property
    def context(self) -> Context:
        return Context(self.session, self.clock, SYSTEM, self.open, LEASE, lambda _: None)

    def deliver(self, *uris: str) -> ApiKey:
        return issue_to(self.context, KeyRequest(org_id=self.org_id, name="k"), uris)[0]

    def rotate(self, key_id: str) -> ApiKey:
        return succeed(self.context, key_id, Terms(settle=SETTLE))[0]

    def delete(self, key_id: str) -> None:
        delete(self.context, key_id)

    def reconcile(self) -> list[Finding]:
        return keep_house(self.context)

    def all_keys(self) -> list[ApiKey]:
        with reading(self.session):
            return list(iterate_keys(self.session, self.org_id, Selection(with_deleted=True)))


Act = Callable[["Process", "Stage"], object]


@dataclass
class Stage:
    """A folder that is set up anew for each kill, always at the same path, because the ledger names it."""

    folder: Path
    clock: TurnableClock
    #: What each of its destinations is: a file of its own, or the one path in the Vault.
    kinds: tuple[str, ...] = ("env", "env")
    vault: VaultStub | None = None
    org_id: str = ""

    def __post_init__(self) -> None:
        # A child may inherit it, warmed up: it has a connection only as long as a process of `process` is at work.
        self.engine = create_engine(f"sqlite:///{self.database}")
        prepare_engine(self.engine)

    @property
    def database(self) -> Path:
        return self.folder / "mushu.sqlite3"

    @property
    def uris(self) -> list[str]:
        return [
            VAULT_URI if kind == "vault" else f"env:{self.folder}/{name}/.env#MUSHU_API_KEY"
            for kind, name in zip(self.kinds, ("one", "two"), strict=False)
        ]

    def set_up(self, database: Path, prepare: Act) -> None:
        """Make the scene that every kill begins with."""
        for name in ("one", "two"):
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / ".env").write_bytes(NEIGHBOURS.encode())
            (self.folder / name / ".env").chmod(0o600)
        if self.vault is not None:
            self.vault.put("secret", "apps/backend", VAULT_NEIGHBOURS)
        shutil.copy(database, self.database)
        with self.process() as process:
            with writing(process.session):
                owner = create_user(process.session, self.clock, SYSTEM, "alice@example.com")
                self.org_id = create_org(process.session, self.clock, SYSTEM, "acme", owner.id).id
            process.org_id = self.org_id
            prepare(process, self)
        shutil.copytree(self.folder, self._scene)
        self._moment = self.clock.now
        if self.vault is not None:
            self._kept = self.vault.snapshot()

    @property
    def _scene(self) -> Path:
        return self.folder.with_name("scene")

    def reset(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self._scene, self.folder)
        self.clock.now = self._moment
        if self.vault is not None:
            self.vault.restore(self._kept)

    @contextmanager
    def process(self) -> Iterator[Process]:
        """Do something as one run of Mushu, which keeps its connection from one transaction to the next."""
        process = Process(self.engine, self.clock, self.org_id, self.vault)
        try:
            yield process
        finally:
            process.session.close()
            self.engine.dispose()

    def run(self, act: Act, notice: Notice) -> None:
        """Do `act`, noticing every boundary of a transaction and of a call of a destination."""
        with self.process() as process:
            _notice_transactions(process.engine, notice)
            for plugin, name in product(PLUGINS, _METHODS):
                _notice_calls(plugin, name, notice)
            act(process, self)

    # What is left

    def held(self) -> list[str | None]:
        return [opened(uri, self.vault).read().digest for uri in self.uris]

    def settle(self) -> str:
        """Let the lease be over, reconcile, and assert that all is sound; return what became of the key."""
        self.clock.now += LEASE
        with self.process() as process:
            process.reconcile()
            self._must_be_sound(process)
            outcome = self._outcome(process)
            self._must_retire(process)
            self._must_work_again(process)
        return outcome

    def _must_be_sound(self, process: Process) -> None:
        held = dict(zip(self.uris, self.held(), strict=True))
        keys = process.all_keys()
        for key in keys:
            with reading(process.session):
                rows = ledger.list_deliveries(process.session, [key.id])
            assert key.stored_state in ("active", "retiring", *DEAD)
            assert not {"pending", "delivered"} & {row.state for row in rows}
            if key.stored_state == "active":
                assert [(row.state, held[row.uri]) for row in rows] == [("verified", key.digest)] * len(rows)
            else:
                assert key.digest not in held.values()
        if any(key.stored_state == "retiring" for key in keys):  # and then its successor is everywhere
            assert set(held.values()) == {key.digest for key in keys if key.stored_state == "active"}
        for uri in self.uris:
            if uri.startswith("env:"):
                self._must_be_unharmed(Path(uri.removeprefix("env:").partition("#")[0]))
        if self.vault is not None:
            self._vault_must_be_unharmed(self.vault)

    def _outcome(self, process: Process) -> str:
        states = sorted(key.stored_state for key in process.all_keys())
        return "/".join(states) or "nothing minted"

    def _vault_must_be_unharmed(self, vault: VaultStub) -> None:
        """Neighbours are as they were, in every version, and no version is gone."""
        found = vault.kv("secret", "apps/backend")
        assert found is not None
        versions = found["versions"].values()
        assert list(found["versions"]) == [str(number + 1) for number in range(len(versions))]
        for version in versions:
            others = {name: value for name, value in version["data"].items() if name != "MUSHU_API_KEY"}
            assert others == VAULT_NEIGHBOURS
            assert not version["destroyed"]
            assert not version["deletion_time"]
        stored = b"".join(file.read_bytes() for file in self.folder.glob("mushu.sqlite3*"))
        ours = [version["data"].get("MUSHU_API_KEY", "") for version in versions]
        assert not [value for value in ours if value and value.encode() in stored]

    def _must_retire(self, process: Process) -> None:
        """A key that has a successor ends once that was seen in use, and not before."""
        process.clock.now += 2 * SETTLE
        assert [str(found.verdict) for found in process.reconcile()] == []
        retiring = [key.id for key in process.all_keys() if key.stored_state == "retiring"]
        active = [key.id for key in process.all_keys() if key.stored_state == "active"]
        with writing(process.session):
            note_first_uses(process.session, dict.fromkeys(active, process.clock.now))
        process.clock.now += SETTLE
        assert [(found.key_id, str(found.verdict)) for found in process.reconcile()] == [
            (key_id, "retired") for key_id in retiring
        ]
        assert [key.id for key in process.all_keys() if key.stored_state == "active"] == active

    def _must_be_unharmed(self, path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        ours = [line for line in lines if line.startswith(b"MUSHU_API_KEY=")]
        assert len(ours) <= 1
        others = b"".join(line for line in lines if line not in ours)
        assert others.rstrip(b"\n") == NEIGHBOURS.encode()
        for file in path.parent.iterdir():
            assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file
        stored = b"".join(file.read_bytes() for file in self.folder.glob("mushu.sqlite3*"))
        assert not [line for line in ours if line.strip().partition(b"=")[2] in stored]

    def _must_work_again(self, process: Process) -> None:
        for key in process.all_keys():
            if key.stored_state == "active":
                process.delete(key.id)
        assert self.held() == [None] * len(self.uris)
        process.clock.turn(seconds=1)
        key = process.deliver(*self.uris)
        assert key.stored_state == "active"
        assert self.held() == [key.digest] * len(self.uris)
        assert not list(self.folder.glob("*/.env.mushu-*.tmp"))


def _notice_transactions(engine: Engine, notice: Notice) -> None:
    written: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        words = statement.split()
        if words[0] in ("INSERT", "UPDATE"):
            written.append(words[2 if words[0] == "INSERT" else 1])

    commit = engine.dialect.do_commit

    def noticed(connection: Any) -> None:
        what = "commit of " + (", ".join(sorted(set(written))) or "nothing")
        notice(f"before {what}")
        commit(connection)
        written.clear()
        notice(f"after {what}")

    engine.dialect.do_commit = noticed  # type: ignore[method-assign, assignment]


def _notice_calls(plugin: type[Destination], name: str, notice: Notice) -> None:
    method = getattr(plugin, name)

    def noticed(self: Destination, *args: Any) -> Any:
        notice(f"before {name} in {plugin.scheme}:")
        answer = method(self, *args)
        notice(f"after {name} in {plugin.scheme}:")
        return answer

    setattr(plugin, name, noticed)


def nothing(process: Process, stage: Stage) -> None:
    """The scene is empty."""


def delivered(process: Process, stage: Stage) -> None:
    """A key is in all destinations."""
    process.deliver(*stage.uris)


def refuse_second(process: Process, stage: Stage) -> None:
    """Deliver to both, where the second refuses at the last moment."""
    write = DotenvDestination.write

    def refused(self: DotenvDestination, secret: Secret, attempt: Attempt) -> Receipt:
        if self.uri == stage.uris[1]:
            raise DestinationError("Not here.", permanent=True)
        return write(self, secret, attempt)

    DotenvDestination.write = refused  # type: ignore[method-assign]
    try:
        process.deliver(*stage.uris)
    except DeliveryFailed:
        return
    finally:
        DotenvDestination.write = write  # type: ignore[method-assign]
    raise AssertionError("it was not refused")
