"""What sends notifications: the one sender of each worker, and whatever a request needs to send with it."""

from typing import Final, cast

from flask import Flask, current_app

from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.core import db, get_core
from mushu.server.notifications.dispatch import Dispatcher
from mushu.server.notifications.hosts import Hosts
from mushu.server.notifications.sender import Sender, Timing

_EXTENSION: Final = "mushu_sender"


def install(app: Flask, clock: Clock, timing: Timing | None = None) -> None:
    """Give the app a sender; it opens nothing before the first notification."""
    app.extensions[_EXTENSION] = Sender(clock, timing)


def sender_of(app: Flask) -> Sender:
    return cast(Sender, app.extensions[_EXTENSION])


def hosts_of(settings: Settings) -> Hosts:
    return Hosts(production=settings.apns_url.rstrip("/"), sandbox=settings.apns_sandbox_url.rstrip("/"))


def dispatcher() -> Dispatcher:
    """Return what sends notifications within the current request."""
    core = get_core()
    return Dispatcher(db.session, core.clock, core.sealing_keys, hosts_of(core.settings), sender_of(current_app))
