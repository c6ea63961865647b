"""Promises about reading, writing, and taking back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mushu.destination import Conflict, DestinationError, Receipt, Secret, Surroundings
from mushu.destination.contract import URL_FIELD
from mushu.destination.target import PutBackResult, Target, put_url_beside
from mushu.testing.place import NewPlace, attempt_at, deliver, held_digest, new_secret


def _receipt_or_error(write: Callable[[], Receipt]) -> Receipt | DestinationError:
    try:
        return write()
    except DestinationError as error:
        return error


class DeliveryPromises:
    """What is written is what is read, and nothing else changes."""

    def test_an_empty_place_is_absent_not_an_error(self, new_place: NewPlace) -> None:
        assert new_place().destination().read().digest is None

    def test_reading_and_preflight_change_nothing(self, new_place: NewPlace) -> None:
        place = new_place()
        place.add_neighbours()
        before = place.stored()
        place.destination().preflight()
        place.destination().read()
        assert place.stored() == before

    def test_what_a_stranger_put_there_is_seen(self, new_place: NewPlace) -> None:
        place, secret = new_place(), new_secret()
        place.hold(secret)
        assert held_digest(place) == secret.digest()

    def test_a_read_is_never_stale(self, new_place: NewPlace) -> None:
        place = new_place()
        destination = place.destination()
        versions = {destination.read().version}
        for secret in (new_secret(), new_secret()):
            place.hold(secret)
            holding = destination.read()
            assert holding.digest == secret.digest()
            versions.add(holding.version)
        assert len(versions) == 3

    def test_a_written_key_is_read_back_at_a_new_version(self, new_place: NewPlace) -> None:
        place, secret = new_place(), new_secret()
        before = place.destination().read()
        receipt = deliver(place, secret)
        after = place.destination().read()
        assert receipt.digest == after.digest == secret.digest()
        assert receipt.version == after.version != before.version

    def test_a_key_replaces_the_one_that_was_expected_and_makes_way_again_as_mushu_does_it(
        self, new_place: NewPlace
    ) -> None:
        place, former, secret = new_place(), new_secret(), new_secret()
        place.hold(former)
        target = Target.open(lambda _: place.destination(), place.destination().uri)
        assert target.check().digest == former.digest()
        attempt = attempt_at(place.destination().read())
        target.write(secret, attempt.attempt_id, attempt.key_id)
        assert target.read_back(secret).digest == held_digest(place)
        assert target.put_back(secret) is PutBackResult.AS_BEFORE
        assert held_digest(place) == former.digest()

    def test_a_stale_version_is_a_conflict_and_changes_nothing(self, new_place: NewPlace) -> None:
        place, secret, foreign = new_place(), new_secret(), new_secret()
        destination = place.destination()
        stale = attempt_at(destination.read())
        place.hold(foreign)
        before = place.stored()
        with pytest.raises(Conflict) as caught:
            destination.write(secret, stale)
        assert caught.value.permanent
        assert held_digest(place) == foreign.digest()
        assert secret.reveal().encode() not in place.stored()
        assert place.stored() == before

    def test_a_second_write_of_the_same_key_is_answered_without_writing(self, new_place: NewPlace) -> None:
        place, secret = new_place(), new_secret()
        attempt = attempt_at(place.destination().read())
        first = place.destination().write(secret, attempt)
        before = place.stored()
        second = place.destination().write(secret, attempt)
        assert (second.version, second.digest) == (first.version, first.digest)
        assert place.stored() == before

    def test_a_lost_answer_passes_or_is_settled_and_the_retry_finds_its_key(self, new_place: NewPlace) -> None:
        """A plugin that finds its value by reading back answers a whole receipt, undo and all; no other answers one."""
        place, secret = new_place(), new_secret()
        attempt = attempt_at(place.destination().read())
        with place.lose_next_answer():
            settled = _receipt_or_error(lambda: place.destination().write(secret, attempt))
        retried = place.destination().write(secret, attempt)
        assert retried.digest == secret.digest() == held_digest(place)
        if isinstance(settled, DestinationError):
            assert not settled.permanent
        else:
            assert (settled.version, settled.digest) == (retried.version, retried.digest)
            assert place.destination().restore(settled)
            assert held_digest(place) is None

    def test_neighbours_survive_a_write_and_a_replacement(self, new_place: NewPlace) -> None:
        place = new_place()
        place.add_neighbours()
        before = place.neighbours()
        assert before, "the harness must put neighbours there, or this promise is empty"
        deliver(place, new_secret())
        deliver(place, new_secret())
        assert place.neighbours() == before

    def test_the_address_beside_a_key_is_put_there_once_and_the_key_stays(self, new_place: NewPlace) -> None:
        """A plugin whose containers have room for one value has nothing beside it."""
        place, secret = new_place(), new_secret()
        place.add_neighbours()
        deliver(place, secret)
        destination = place.destination()
        beside = destination.beside(URL_FIELD)
        if beside is None:
            return
        urls = [Secret("https://keys.example.com:8443/team-a"), Secret("http://127.0.0.1:8000")]
        problems = [put_url_beside(lambda _: destination, destination.uri, url.reveal()) for url in (*urls, urls[0])]
        assert [problem is None for problem in problems] == [True, False, True], problems
        again = type(destination).parse(beside.uri, Surroundings(Path("/nonexistent/mushu-contract")))
        assert again is not None
        assert again.read().digest == urls[0].digest()
        assert held_digest(place) == secret.digest()

    def test_what_a_caller_gets_names_no_value(self, new_place: NewPlace) -> None:
        place, secret = new_place(), new_secret()
        receipt = deliver(place, secret)
        assert secret.reveal() not in f"{receipt!r} {place.destination().read()!r} {place.destination()!r}"


class UndoPromises:
    """Only the key that was delivered is taken back; what stood there before returns."""

    @pytest.mark.parametrize("with_neighbours", [False, True])
    def test_restore_makes_a_first_key_absent_again(self, new_place: NewPlace, with_neighbours: bool) -> None:
        place, secret = new_place(), new_secret()
        if with_neighbours:
            place.add_neighbours()
        neighbours = place.neighbours()
        assert place.destination().restore(deliver(place, secret))
        assert held_digest(place) is None
        assert place.neighbours() == neighbours
        assert secret.reveal().encode() not in place.stored()

    def test_restore_puts_the_former_value_back(self, new_place: NewPlace) -> None:
        place, secret, former = new_place(), new_secret(), new_secret()
        place.add_neighbours()
        place.hold(former)
        neighbours = place.neighbours()
        assert place.destination().restore(deliver(place, secret))
        assert held_digest(place) == former.digest()
        assert place.neighbours() == neighbours

    def test_restore_leaves_a_foreign_value_alone(self, new_place: NewPlace) -> None:
        place, foreign = new_place(), new_secret()
        receipt = deliver(place, new_secret())
        place.hold(foreign)
        before = place.stored()
        assert not place.destination().restore(receipt)
        assert held_digest(place) == foreign.digest()
        assert place.stored() == before

    def test_restore_twice_is_once(self, new_place: NewPlace) -> None:
        place, former = new_place(), new_secret()
        place.hold(former)
        receipt = deliver(place, new_secret())
        assert place.destination().restore(receipt)
        assert not place.destination().restore(receipt)
        assert held_digest(place) == former.digest()

    def test_remove_takes_the_key_away_and_no_neighbour(self, new_place: NewPlace) -> None:
        place, secret = new_place(), new_secret()
        place.add_neighbours()
        neighbours = place.neighbours()
        deliver(place, secret)
        assert place.destination().remove(secret.digest())
        assert held_digest(place) is None
        assert place.neighbours() == neighbours
        assert secret.reveal().encode() not in place.stored()

    def test_remove_is_guarded_by_the_digest(self, new_place: NewPlace) -> None:
        place, secret, foreign = new_place(), new_secret(), new_secret()
        deliver(place, secret)
        place.hold(foreign)
        before = place.stored()
        assert not place.destination().remove(secret.digest())
        assert held_digest(place) == foreign.digest()
        assert place.stored() == before

    def test_remove_of_what_is_not_there_says_so(self, new_place: NewPlace) -> None:
        place = new_place()
        before = place.stored()
        assert not place.destination().remove(Secret("").digest())
        assert not place.destination().remove(new_secret().digest())
        assert place.stored() == before

    def test_remove_twice_is_once(self, new_place: NewPlace) -> None:
        place, secret = new_place(), new_secret()
        deliver(place, secret)
        assert place.destination().remove(secret.digest())
        assert not place.destination().remove(secret.digest())

    def test_a_place_that_was_emptied_takes_a_key_again(self, new_place: NewPlace) -> None:
        place, secret, successor = new_place(), new_secret(), new_secret()
        deliver(place, secret)
        place.destination().remove(secret.digest())
        deliver(place, successor)
        assert held_digest(place) == successor.digest()
