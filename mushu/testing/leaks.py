"""Promises about secrecy."""

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from mushu.destination import DestinationError, Secret
from mushu.testing.place import NewPlace, Place, attempt_at, deliver, new_secret

#: Values that a store may refuse or have to escape; whether it takes them is its own affair.
_AWKWARD: Final = ("two words", "quote's", 'double"', "line\nline", "nul\0", "${X}", "\udcff", "", "x" * 100_000)


def traces(thing: object) -> Iterator[str]:
    """Yield every text in which a careless caller could come to print `thing`, with all that hangs on an exception."""
    yield repr(thing)
    yield str(thing)
    yield f"{thing}"
    try:
        yield pickle.dumps(thing, protocol=0).decode("latin-1")
    except (TypeError, AttributeError, pickle.PicklingError):
        yield ""  # what cannot be pickled cannot leak that way
    if isinstance(thing, BaseException):
        yield repr(thing.args) + repr(vars(thing))
        # With locals, as many error reporters print it.
        yield "".join(traceback.TracebackException.from_exception(thing, capture_locals=True).format())
        for linked in (thing.__cause__, thing.__context__):
            if linked is not None:
                yield from traces(linked)


def _tried(act: Callable[[], object]) -> object:
    """Return what `act` returns or raises."""
    try:
        return act()
    except DestinationError as error:
        return error


def _all_that_can_happen(place: Place, former: Secret, secret: Secret, foreign: Secret) -> Iterator[object]:
    """Yield what a destination answers in every situation, good and bad; secrets stay wrapped all the way."""
    destination = place.destination()
    stale = attempt_at(destination.read())
    place.hold(former)
    yield destination
    yield destination.read()
    yield _tried(lambda: destination.write(secret, stale))
    receipt = deliver(place, secret)
    yield receipt
    yield receipt.undo
    yield _tried(lambda: destination.write(secret, stale))
    place.hold(foreign)
    yield _tried(lambda: destination.write(secret, attempt_at(destination.read())))
    place.hold(foreign)
    yield _tried(lambda: destination.restore(receipt))
    yield _tried(lambda: destination.remove(secret.digest()))
    yield _tried(lambda: destination.remove(foreign.digest()))
    yield _tried(lambda: destination.restore(receipt))


class LeakPromises:
    """No plaintext in what is returned, raised, printed or logged."""

    def test_nothing_that_is_returned_or_raised_shows_a_value(
        self, new_place: NewPlace, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        place = new_place()
        place.add_neighbours()
        secrets = [new_secret() for _ in range(3)]
        shown = [text for thing in _all_that_can_happen(place, *secrets) for text in traces(thing)]
        printed = capfd.readouterr()
        shown += [printed.out, printed.err, caplog.text, *(repr(vars(record)) for record in caplog.records)]
        assert [secret.digest() for secret in secrets if any(secret.reveal() in text for text in shown)] == []

    @pytest.mark.parametrize("awkward", _AWKWARD, ids=range(len(_AWKWARD)))
    def test_an_awkward_value_is_stored_exactly_or_refused_silently(
        self, new_place: NewPlace, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, awkward: str
    ) -> None:
        caplog.set_level(logging.DEBUG)
        place = new_place()
        place.add_neighbours()
        neighbours = place.neighbours()
        marked = Secret(new_secret().reveal() + awkward)
        answer = _tried(lambda: deliver(place, marked))
        if isinstance(answer, DestinationError):
            assert answer.permanent
            assert place.destination().read().digest is None
        else:
            assert place.destination().read().digest == marked.digest()
        assert place.neighbours() == neighbours
        shown = "".join([*traces(answer), *capfd.readouterr(), caplog.text])
        assert marked.reveal()[:37] not in shown
