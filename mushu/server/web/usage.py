"""Where requests are counted: the one recorder of each worker."""

import atexit
from multiprocessing import util
from typing import Final, cast

from flask import Flask, current_app

from mushu.server.client_address import shown
from mushu.server.core import db, get_core
from mushu.server.db import own_session
from mushu.server.gate.principal import KeyPrincipal, Principal
from mushu.server.usage.recorder import Recorder
from mushu.server.web.client_address import current_address

_EXTENSION: Final = "mushu_usage"


def install(app: Flask, interval: float) -> None:
    """Give the app a recorder that writes every `interval` seconds, and when the process ends."""
    with app.app_context():
        engine = db.engine
    recorder = Recorder(lambda: own_session(engine), interval)
    app.extensions[_EXTENSION] = recorder
    if interval > 0:
        atexit.register(recorder.close)
        util.Finalize(None, recorder.close, exitpriority=0)  # workers are children, and some skip `atexit`


def recorder_of(app: Flask) -> Recorder:
    return cast(Recorder, app.extensions[_EXTENSION])


def count(principal: Principal) -> None:
    """Count the current request for the key that it carries."""
    if isinstance(principal, KeyPrincipal):
        recorder_of(current_app).saw(principal.key_id, get_core().clock(), shown(current_address()))
