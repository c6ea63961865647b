"""Promises about being killed."""

import signal
from collections.abc import Callable
from typing import ClassVar

import pytest

from mushu.destination import Secret
from mushu.testing.place import NewPlace, Place, attempt_at, deliver, held_digest, new_secret
from mushu.testing.processes import FINISHED, kill_at, steps_of

#: What is done to a place, and the digests of before and after.
Act = tuple[Callable[[], object], str | None, str | None]


def _first_write(place: Place) -> Act:
    secret = new_secret()
    destination = place.destination()
    attempt = attempt_at(destination.read())
    return lambda: destination.write(secret, attempt), None, secret.digest()


def _replacement(place: Place) -> Act:
    former = new_secret()
    place.hold(former)
    work, _, digest = _first_write(place)
    return work, former.digest(), digest


def _restore(place: Place) -> Act:
    former, secret = new_secret(), new_secret()
    place.hold(former)
    receipt = deliver(place, secret)
    destination = place.destination()
    return lambda: destination.restore(receipt), secret.digest(), former.digest()


def _removal(place: Place) -> Act:
    secret = new_secret()
    deliver(place, secret)
    destination = place.destination()
    return lambda: destination.remove(secret.digest()), secret.digest(), None


class CrashPromises:
    """Whenever the process is killed, the place holds the old value or the new one, and the next run can tell which."""

    #: Top-level packages whose steps are tried; empty for the one that the destination's class stands in.
    packages: ClassVar[tuple[str, ...]] = ()
    #: Whether each step is tried, or each kind of step alone: then far fewer, for a run that is repeated all day.
    each_step: ClassVar[bool] = True

    @pytest.mark.parametrize("prepare", [_first_write, _replacement, _restore, _removal])
    def test_killed_at_any_step_it_is_all_or_nothing(
        self, new_place: NewPlace, prepare: Callable[[Place], Act]
    ) -> None:
        packages = self.packages or (type(new_place().destination()).__module__.partition(".")[0],)
        rehearsal = self._stage(new_place)
        steps = steps_of(prepare(rehearsal)[0], packages, each=self.each_step)
        assert len(steps) > 1, f"nothing happened in {packages}: name the right packages"
        outcomes = set()
        for step in steps:
            place = self._stage(new_place)
            neighbours = place.neighbours()
            work, old, new = prepare(place)
            ended = kill_at(step, work, packages)
            # A child can be through before its step where the number of steps varies, say with retries.
            assert ended in (-signal.SIGKILL, FINISHED), f"failed before step {step} of {len(steps)}"
            held = held_digest(place)
            assert held in (old, new), f"killed at step {step}, it holds neither the old value nor the new one"
            assert place.neighbours() == neighbours, f"killed at step {step}, it harmed a neighbour"
            outcomes.add((ended, held == new))
            self._must_work_again(place, neighbours)
        assert outcomes >= {(-signal.SIGKILL, False), (-signal.SIGKILL, True)}, (
            "no step was before the change, or none after"
        )

    def _stage(self, new_place: NewPlace) -> Place:
        place = new_place()
        place.add_neighbours()
        return place

    def _must_work_again(self, place: Place, neighbours: object) -> None:
        secret: Secret = new_secret()
        deliver(place, secret)
        assert held_digest(place) == secret.digest()
        assert place.neighbours() == neighbours
