"""Flask extensions of Mushu's own: what each worker process has one of.

The recorder counts the requests of each API key; the sender keeps connections to Apple open; known paths have a rule.
"""

import atexit
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from multiprocessing import util
from typing import Any, Final, Literal, TypeAlias, cast

from flask import Flask, Request, current_app
from werkzeug.routing import MapAdapter, Rule

from mushu.server.client_address import shown_client
from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.core import core_of, db, get_core
from mushu.server.errors import MushuError
from mushu.server.gate import KeyPrincipal, Principal
from mushu.server.instance import USAGE_FOLDER
from mushu.server.resources.notifications.apns import Hosts
from mushu.server.resources.notifications.dispatch import Dispatcher
from mushu.server.resources.notifications.sender import Sender, Timing
from mushu.server.usage import Recorder

_RECORDER: Final = "mushu_usage"
_SENDER: Final = "mushu_sender"
_MOST_PATHS: Final = 4_096  # of which the rule is remembered
#: What a remembered path looks like: it names an organization at most. Others hold secrets, such as one-time links.
_PLAIN: Final = re.compile(r"(?:/(?:[a-z-]{1,20}|org_[a-z2-7]{12})){1,5}")

#: The rules of paths, and what these name; by method and path.
Rules: TypeAlias = dict[tuple[str, str], tuple[Rule, Mapping[str, Any]]]


def install_recorder(app: Flask, interval: float) -> None:
    """Give the app a recorder that writes every `interval` seconds, and when the process ends."""
    with app.app_context():
        engine, instance = db.engine, get_core().settings.instance_path
    recorder = Recorder(engine, instance / USAGE_FOLDER if interval > 0 else None, interval)
    app.extensions[_RECORDER] = recorder
    if interval > 0:
        at_end(recorder.close)


def at_end(close: Callable[[], None]) -> None:
    """Have a worker call this as its last act."""
    atexit.register(close)
    util.Finalize(None, close, exitpriority=0)  # workers are children, and some skip `atexit`


def install_sender(app: Flask, clock: Clock, timing: Timing | None = None) -> None:
    """Give the app a sender; it opens no connection before the first notification."""
    app.extensions[_SENDER] = Sender(clock, timing)


def recorder_of(app: Flask) -> Recorder:
    return cast(Recorder, app.extensions[_RECORDER])


def sender_of(app: Flask) -> Sender:
    return cast(Sender, app.extensions[_SENDER])


def count(app: Flask, environ: Mapping[str, Any], principal: Principal) -> None:
    """Count a request for the key that it carries."""
    if isinstance(principal, KeyPrincipal):
        core = core_of(app)
        address = shown_client(environ, core.settings.client_address_header)
        recorder_of(app).saw(principal.key_id, core.clock(), address)


def count_denial(app: Flask, environ: Mapping[str, Any], principal: Principal | None, refusal: MushuError) -> None:
    """Count that a request was refused to a key: to the principal, or to one that proves nothing and is known."""
    key_id = principal.key_id if isinstance(principal, KeyPrincipal) else getattr(refusal, "of_key", None)
    if key_id is not None:
        core = core_of(app)
        address = shown_client(environ, core.settings.client_address_header)
        recorder_of(app).denied(key_id, core.clock(), address, refusal.code)


def dispatcher() -> Dispatcher:
    """Return what sends notifications within the current request."""
    core = get_core()
    return Dispatcher(db.session, core.clock, core.sealing_keys, hosts_of(core.settings), sender_of(current_app))


def hosts_of(settings: Settings) -> Hosts:
    """Return Apple's addresses, for production and for its sandbox."""
    return Hosts(production=settings.apns_url.rstrip("/"), sandbox=settings.apns_sandbox_url.rstrip("/"))


class KnownPaths:
    """Finds the rule of a request as Flask's adapter does, which is made only where the path is not known yet."""

    def __init__(self, known: Rules, asked: Request, make: Callable[[], MapAdapter]) -> None:
        self._known = known
        self._asked = asked
        self._make = make

    def match(self, *, return_rule: Literal[True]) -> tuple[Rule, dict[str, Any]]:
        """Return the rule, and what the path names. Raises what Werkzeug does."""
        asked, known = self._asked, self._known
        found = known.get((asked.method, asked.path))
        if found is None or "HTTP_UPGRADE" in asked.environ:
            found = self._adapter.match(return_rule=return_rule)
            if found[1].keys() <= {"org_id"} and _PLAIN.fullmatch(asked.path):
                if len(known) >= _MOST_PATHS:
                    known.clear()
                known[asked.method, asked.path] = found
        return found[0], {**found[1]}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    @cached_property
    def _adapter(self) -> MapAdapter:
        return self._make()
