"""Promises about the URI."""

import re
from pathlib import Path

import pytest

from mushu import keyformat
from mushu.destination import DestinationError, Surroundings
from mushu.destination.safe import SafeDestination
from mushu.testing.place import NewPlace

_NOWHERE = Surroundings(Path("/nonexistent/mushu-contract"))
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,62}")


class AddressPromises:
    """A destination has one spelling, which is safe to store and to show."""

    def test_the_uri_begins_with_the_scheme(self, new_place: NewPlace) -> None:
        destination = new_place().destination()
        assert destination.uri.startswith(f"{destination.scheme}:")

    def test_the_uri_is_parsed_to_the_same_uri_from_anywhere(self, new_place: NewPlace) -> None:
        destination = new_place().destination()
        again = type(destination).parse(destination.uri, _NOWHERE)
        assert again is not None
        assert again.uri == destination.uri

    def test_the_uri_leads_to_what_was_stored(self, new_place: NewPlace) -> None:
        place = new_place()
        place.hold(keyformat.generate(keyformat.Prefix.LIVE_KEY))
        destination = place.destination()
        again = type(destination).parse(destination.uri, _NOWHERE)
        assert again is not None
        assert again.read() == destination.read()

    def test_the_uri_is_one_printable_line(self, new_place: NewPlace) -> None:
        uri = new_place().destination().uri
        assert uri.isprintable()
        assert " " not in uri

    @pytest.mark.parametrize("uri", ["", "other:x#Y", ":", "no-scheme", "x-{scheme}:/a#B", "{scheme}x:/a#B"])
    def test_another_scheme_is_not_ours(self, new_place: NewPlace, uri: str) -> None:
        kind = type(new_place().destination())
        assert kind.parse(uri.format(scheme=kind.scheme), _NOWHERE) is None

    def test_a_uri_without_a_place_is_refused_for_good(self, new_place: NewPlace) -> None:
        kind = type(new_place().destination())
        with pytest.raises(DestinationError) as caught:
            kind.parse(f"{kind.scheme}:", _NOWHERE)
        assert caught.value.permanent

    def test_an_option_that_nobody_knows_is_refused_or_names_another_place(self, new_place: NewPlace) -> None:
        """What is mistyped and left out of account sends a key elsewhere than it says."""
        destination = new_place().destination()
        located, hash_sign, field = destination.uri.partition("#")
        option = f"{'&' if '?' in located else '?'}mushu_contract=1"
        try:
            odd = type(destination).parse(f"{located}{option}{hash_sign}{field}", _NOWHERE)
        except DestinationError as error:
            refused = error.permanent
        else:
            refused = odd is None or odd.uri != destination.uri
        assert refused, "the option was left out of account"

    def test_settings_that_are_declared_are_names_as_an_operator_gives_them(self, new_place: NewPlace) -> None:
        known = type(new_place().destination()).known_settings
        assert not isinstance(known, str), "a collection of names, not one"
        assert all(_SETTING.fullmatch(name) for name in known or ())

    def test_the_location_is_a_short_line_and_stays_the_same(self, new_place: NewPlace) -> None:
        """What is stored with a key, and compared years later, by another process."""
        place = new_place()
        first = SafeDestination(place.destination()).location()
        place.hold(keyformat.generate(keyformat.Prefix.LIVE_KEY))
        assert SafeDestination(place.destination()).location() == first
        assert first.identity or not first.directions, "a way to nowhere"

    def test_finding_the_location_touches_nothing(self, new_place: NewPlace) -> None:
        place = new_place()
        before = place.stored()
        place.destination().location()
        assert place.stored() == before

    def test_parsing_touches_nothing(self, new_place: NewPlace) -> None:
        place = new_place()
        before = place.stored()
        assert place.destination().uri
        assert place.stored() == before

    def test_a_pasted_key_is_refused_and_not_repeated(self, new_place: NewPlace) -> None:
        destination = new_place().destination()
        secret = keyformat.generate(keyformat.Prefix.LIVE_KEY)
        with pytest.raises(DestinationError) as caught:
            type(destination).parse(destination.uri.partition("#")[0] + "#" + secret.reveal(), _NOWHERE)
        assert secret.reveal() not in str(caught.value)
        assert caught.value.permanent
