"""Keys that a page filters. `test_hygiene.py` and `test_figures.py` compare them with what is built each time."""

from dataclasses import replace

import pytest

from mushu.environment import Environment
from mushu.server.core import reader_in
from mushu.server.errors import Invalid
from mushu.server.filtered_keys import FilteredKeys, _statements
from mushu.server.hygiene import Hygiene, Sort
from mushu.server.keys import Scope
from mushu.server.keys.selection import Selection, StateAt
from mushu.server.keys.states import State
from mushu.server.paging import Window
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database


def test_the_same_filters_are_built_once_whatever_they_are_filtered_by(world: World, clock: TurnableClock) -> None:
    org = world.org()
    reader, first = reader_in(Environment.LIVE), world.key(org)[0]
    other, hygiene = world.key(world.org(), Scope.READ)[0], Hygiene(created_by=org.created_by, at=[])
    _statements.cache_clear()
    for key in (first, other):
        selection = Selection((Environment.LIVE,), name="k", search=key.id, state=StateAt(State.ACTIVE, clock()))
        keys = FilteredKeys(key.org_id, Environment.LIVE, selection, Hygiene(), clock())
        for sort in Sort:
            assert [one.id for one in keys.page(reader, Window(), sort).rows] == [key.id]
        assert [replace(keys, org_id=org.id).count(reader), keys.count(reader)] == [int(key is first), 1]
        by_address = replace(keys, hygiene=Hygiene(created_by=f" {world.owner_of(org).email.upper()}"))
        assert by_address.count(reader) == 0, "nobody has created these keys"
        assert replace(keys, hygiene=hygiene).count(reader) == 0, "no place is no condition that is left out"
        assert replace(keys, selection=replace(selection, name="K")).count(reader) == 0, "capitals count in names"
        clock.turn(hours=1)
    assert _statements.cache_info().currsize == 3


def test_a_whole_key_is_not_searched(world: World, clock: TurnableClock) -> None:
    org = world.org()
    _, secret = world.key(org)
    selection = Selection((Environment.LIVE,), search=secret)
    with pytest.raises(Invalid, match="whole key"):
        FilteredKeys(org.id, Environment.LIVE, selection, Hygiene(), clock()).count(reader_in(Environment.LIVE))
