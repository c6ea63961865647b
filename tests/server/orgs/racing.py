"""Two requests at the same moment, each in a session of its own."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.errors import MushuError

#: What one of the racers does in a transaction of its own.
Act = Callable[[Session], Any]
#: How it ended: with an error, or well.
Outcome = type[MushuError] | None


def open_session(engine: Engine) -> Session:
    """Return a session beside that of the test, as another request has it."""
    return Session(engine, autobegin=False, expire_on_commit=False)


def race(*acts: Act) -> list[Outcome]:
    """Start all of them at once."""
    engine, start = db.engine, Barrier(len(acts))

    def run(act: Act) -> Outcome:
        start.wait()
        return _attempt(engine, act)

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def overtake(faster: Act, slower: Act) -> Outcome:
    """Let `slower` begin when `faster` has done its work and not committed it; return how `slower` ends."""
    engine = db.engine
    with ThreadPoolExecutor(1) as pool:
        with open_session(engine) as session, writing(session):
            faster(session)
            session.flush()
            outcome = pool.submit(_attempt, engine, slower)
            time.sleep(0.2)  # time to run into the lock
        return outcome.result()


def _attempt(engine: Engine, act: Act) -> Outcome:
    with open_session(engine) as session:
        try:
            with writing(session):
                act(session)
        except MushuError as error:
            return type(error)
    return None
