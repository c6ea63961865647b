"""Promises about taking a key back."""

import pytest

from mushu.destination import Secret
from mushu.testing.place import NewPlace, deliver, held_digest, new_secret


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
