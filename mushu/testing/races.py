"""Promises about writers that come at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Final

from mushu.destination import Attempt, Conflict, DestinationError, Secret
from mushu.testing.place import NewPlace, Place, attempt_at, deliver, held_digest, new_secret
from mushu.testing.processes import FINISHED, fork, wait_for

_WRITERS: Final = 8
_WON: Final = FINISHED
_LOST: Final = 3
_TIMEOUT: Final = 30.0


def _contend(place: Place, secret: Secret, attempt: Attempt, start: Callable[[], object]) -> int:
    destination = place.destination()
    start()
    try:
        destination.write(secret, attempt)
    except Conflict:
        return _LOST
    except DestinationError as error:
        # A writer that was kept waiting too long has not won; anything permanent would be a wrong answer.
        if error.permanent:
            raise
        return _LOST
    return _WON


def _remove(place: Place, secret: Secret, start: Callable[[], object]) -> bool:
    destination = place.destination()
    start()
    return destination.remove(secret.digest())


class RacePromises:
    """Of all who expect the same version, one writes and the others learn of it."""

    def test_of_many_threads_one_wins(self, new_place: NewPlace) -> None:
        place = new_place()
        place.add_neighbours()
        neighbours = place.neighbours()
        secrets = [new_secret() for _ in range(_WRITERS)]
        attempt = attempt_at(place.destination().read())
        barrier = threading.Barrier(_WRITERS, timeout=_TIMEOUT)
        with ThreadPoolExecutor(_WRITERS) as pool:
            ends = list(pool.map(lambda secret: _contend(place, secret, attempt, barrier.wait), secrets))
        assert sorted(ends) == [_WON] + [_LOST] * (_WRITERS - 1)
        assert held_digest(place) == secrets[ends.index(_WON)].digest()
        assert place.neighbours() == neighbours

    def test_of_many_processes_one_wins(self, new_place: NewPlace) -> None:
        place = new_place()
        place.hold(new_secret())
        place.add_neighbours()
        neighbours = place.neighbours()
        secrets = [new_secret() for _ in range(_WRITERS)]
        attempt = attempt_at(place.destination().read())
        barrier = get_context("fork").Barrier(_WRITERS, timeout=_TIMEOUT)
        children = [
            fork(lambda secret=secret: _contend(place, secret, attempt, barrier.wait))  # type: ignore[misc]
            for secret in secrets
        ]
        ends = [wait_for(child) for child in children]
        assert sorted(ends) == [_WON] + [_LOST] * (_WRITERS - 1)
        assert held_digest(place) == secrets[ends.index(_WON)].digest()
        assert place.neighbours() == neighbours

    def test_a_remover_and_a_writer_do_not_undo_each_other(self, new_place: NewPlace) -> None:
        for _ in range(5):
            place, former, secret = new_place(), new_secret(), new_secret()
            deliver(place, former)
            attempt = attempt_at(place.destination().read())
            barrier = threading.Barrier(2, timeout=_TIMEOUT)
            with ThreadPoolExecutor(2) as pool:
                written = pool.submit(_contend, place, secret, attempt, barrier.wait)
                removed = pool.submit(_remove, place, former, barrier.wait)
                outcome = (written.result() == _WON, removed.result())
            assert outcome in {(True, False), (False, True)}
            assert held_digest(place) == (secret.digest() if outcome[0] else None)
