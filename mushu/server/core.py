"""What the web and the commands have in common: settings, clock, database, passwords, destinations, on a Flask app.

Kept free of everything that only the web needs, so that `flask keys list` starts fast.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from operator import methodcaller
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from flask import Flask, current_app, g
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session

from mushu.destination.registry import OpenDestination, opener
from mushu.environment import Environment
from mushu.server import schema
from mushu.server.audit import Actor
from mushu.server.clock import Clock, utc_now
from mushu.server.config import Settings
from mushu.server.db import (
    SESSION_OPTIONS,
    AnySession,
    Proof,
    act_for,
    engine_options,
    own_session,
    prepare_engine,
)
from mushu.server.delivery import named_destinations
from mushu.server.environments import Reader, set_environment
from mushu.server.gate.cache import StampedReads
from mushu.server.instance import JOURNAL_FILE, ROOT, prepare_instance, secret_key
from mushu.server.lifecycle.context import Context
from mushu.server.limit_stores import open_store
from mushu.server.limiter import Limiter
from mushu.server.read_connections import ReadConnections
from mushu.server.resources import RESOURCES, Resources
from mushu.server.sealing.ring import SealingKeys

if TYPE_CHECKING:
    from mushu.server.kept_figures import KeptFigures
    from mushu.server.resources.media.uploading import MediaBackend
    from mushu.server.users.links import Postman
    from mushu.server.users.passwords import Passwords

Proxied = TypeVar("Proxied")

_READS: Final = "mushu_reads"
_GATE: Final = "mushu_gate"
_PACKAGED: Final = Path(__file__).with_name("migrations")
#: A checkout has them beside the package, a wheel brings them inside it.
MIGRATIONS: Final = _PACKAGED if _PACKAGED.is_dir() else ROOT / "migrations"


class RequestSession(Session):
    """A session that is made where it is first used, and then knows what `tell_session` told."""

    def __init__(self, db: SQLAlchemy, **options: Any) -> None:
        super().__init__(db, **options)
        g.mushu_had_session = True
        _tell(self)


db: Final = SQLAlchemy(metadata=schema.metadata, session_options=SESSION_OPTIONS | {"class_": RequestSession})


@dataclass(frozen=True)
class Core:
    """What a request or a command needs besides the session."""

    settings: Settings
    clock: Clock = utc_now
    open_destination: OpenDestination = field(
        default_factory=lambda: opener(Path.cwd(), settings_for=_settings_for)  # a lambda: it is defined further down
    )

    #: What is asked when an organization or a tenant is deleted, and when housekeeping is due.
    resources: Resources = RESOURCES

    @property
    def sealing_keys(self) -> SealingKeys:
        return SealingKeys(self.settings.sealing_keys_path)

    @cached_property
    def places(self) -> BoundedSemaphore:
        """Those in this process for requests that wait for somebody else (`web/slow_clients.py`)."""
        return BoundedSemaphore(self.settings.transfers)

    @cached_property
    def figures(self) -> "KeptFigures":
        from mushu.server.kept_figures import KeptFigures  # only pages ask for them

        return KeptFigures()

    @cached_property
    def limiter(self) -> Limiter:
        """Raises ConfigurationError where the store that is set cannot be used here."""
        return Limiter(open_store(self.settings))

    @cached_property
    def media(self) -> "MediaBackend":
        """Raises ConfigurationError where the storage that is asked for cannot be used here."""
        from mushu.server.resources.media.uploading import open_media  # only the web and housekeeping touch media

        return open_media(self.settings)

    @cached_property
    def postman(self) -> "Postman":
        from mushu.server.users.links import Postman  # only the web mails links by itself

        return Postman()

    @cached_property
    def passwords(self) -> "Passwords":
        from mushu.server.users.passwords import Passwords  # argon2 is not loaded by who sets no password

        return Passwords(
            time_cost=self.settings.argon2_time_cost,
            memory_kib=self.settings.argon2_memory_kib,
            concurrency=self.settings.argon2_concurrency,
        )


def install(app: Flask, core: Core) -> None:
    """Set the instance folder up if it is new, and put the core on the app."""
    settings = core.settings
    prepare_instance(settings.instance_path, settings.sqlalchemy_url)
    app.config.update(
        SECRET_KEY=secret_key(settings.instance_path),
        SQLALCHEMY_DATABASE_URI=settings.sqlalchemy_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings.sqlalchemy_url, settings.worker_threads),
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
    )
    app.extensions["mushu"] = core
    db.init_app(app)
    with app.app_context():
        prepare_engine(db.engine, settings.instance_path / JOURNAL_FILE)
        reads = ReadConnections(db.engine)
        gate = StampedReads(db.engine) if db.engine.dialect.name == "sqlite" else reads
        app.extensions[_READS] = {environment: Reader(reads, environment) for environment in Environment}
        app.extensions[_GATE] = {environment: Reader(gate, environment) for environment in Environment}


def core_of(app: Flask) -> Core:
    return cast(Core, app.extensions["mushu"])


def get_core() -> Core:
    """Return the core of the current app."""
    return core_of(current_app)


class _Resolving(Protocol):
    def __call__(self, proxy: Proxied, /) -> Proxied: ...


#: Returns what a proxy of Flask stands for now: each look through one costs, so who looks often resolves it once.
resolve_once: Final = cast(_Resolving, methodcaller("_get_current_object"))


def tell_session(environment: Environment, proof: Proof | None) -> None:
    """Have the session of the current request work in this environment, and ask for this proof before it writes.

    Most requests that only read never use it, and making one takes longer than asking for a row.
    """
    here = resolve_once(g)
    here.mushu_session = (environment, proof)
    if "mushu_had_session" in here and db.session.registry.has():
        _tell(db.session())


def forget_proof() -> None:
    """Have the session act for nobody: the request is over, and what called it may go on."""
    here = resolve_once(g)
    here.pop("mushu_session", None)
    if "mushu_had_session" in here and db.session.registry.has():
        act_for(db.session, None)


def _tell(session: AnySession) -> None:
    told = g.get("mushu_session")
    if told is not None:
        environment, proof = told
        set_environment(session, environment)
        act_for(session, proof)


def gate_reader_in(environment: Environment, app: Flask = current_app) -> Reader:
    """Return what the gate looks credentials up with."""
    return cast(Reader, app.extensions[_GATE][environment])


def reader_in(environment: Environment, app: Flask = current_app) -> Reader:
    """Return what reads in this environment; a session is for all that is to be changed."""
    return cast(Reader, app.extensions[_READS][environment])


@contextmanager
def core_context(load: Callable[[], Settings] = Settings.load) -> Iterator[Core]:
    """Provide the core and the database without the web: for commands.

    Raises:
        ConfigurationError: the settings are wrong.
    """
    settings = load()
    app = Flask("mushu.server", instance_path=str(settings.instance_path), static_folder=None)
    core = Core(settings)
    install(app, core)
    with app.app_context():
        try:
            yield core
        finally:
            db.session.remove()
            db.engine.dispose()


def _settings_for(uri: str) -> Mapping[str, str]:
    """Return what a named destination needs to be opened; in a session of its own, whatever the caller's is about."""
    with own_session(db.engine) as session:
        return named_destinations.settings_for(session, get_core().sealing_keys, uri)


def context_for(actor: Actor, org_id: str | None = None, environment: Environment | None = None) -> Context:
    """Return what a verb needs to act for `actor`, within the current app.

    Args:
        org_id: the organization of a request; None for an operator.
        environment: that of a request; None for an operator.
    """
    core = get_core()
    return Context(
        session=db.session,
        clock=core.clock,
        actor=actor,
        open_destination=core.open_destination,
        lease=core.settings.delivery_lease,
        org_id=org_id,
        environment=environment,
    )
