"""Every transition that the design draws is possible, and no other."""

from itertools import product

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import KeyNotFound, WrongState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state, find_key
from mushu.server.keys.states import (
    ACTIVATE,
    AUTHENTICATING,
    DELETE,
    DISABLE,
    ENABLE,
    END_RETIREMENT,
    FAIL,
    RETIRE,
    State,
    Transition,
)
from tests.server.conftest import World

pytestmark = pytest.mark.database

CHANGES = (ACTIVATE, FAIL, DISABLE, ENABLE, RETIRE, END_RETIREMENT, DELETE)
STORED = [state for state in State if state is not State.EXPIRED]
ALLOWED = {
    (ACTIVATE, State.PENDING): State.ACTIVE,
    (FAIL, State.PENDING): State.FAILED,
    (DISABLE, State.ACTIVE): State.DISABLED,
    (ENABLE, State.DISABLED): State.ACTIVE,
    (RETIRE, State.ACTIVE): State.RETIRING,
    (END_RETIREMENT, State.RETIRING): State.REVOKED,
    (DELETE, State.PENDING): State.REVOKED,
    (DELETE, State.ACTIVE): State.REVOKED,
    (DELETE, State.DISABLED): State.REVOKED,
    (DELETE, State.RETIRING): State.REVOKED,
    (DELETE, State.FAILED): State.REVOKED,
}


@pytest.mark.parametrize(("change", "before"), list(product(CHANGES, STORED)))
def test_a_transition_is_made_where_it_is_drawn_and_refused_elsewhere(
    world: World, change: Transition, before: State
) -> None:
    key, _ = world.key(world.org())
    with writing(db.session):
        db.session.get_one(ApiKey, key.id).stored_state = before
    after = ALLOWED.get((change, before))
    if after is None:
        with pytest.raises(WrongState, match=before), writing(db.session):
            change_state(db.session, world.clock, SYSTEM, key.id, change)
    else:
        with writing(db.session):
            change_state(db.session, world.clock, SYSTEM, key.id, change)
    with reading(db.session):
        found = find_key(db.session, key.id)
    assert found is not None
    assert found.stored_state == (after or before)


def test_only_active_and_retiring_keys_authenticate() -> None:
    assert set(AUTHENTICATING) == {State.ACTIVE, State.RETIRING}


def test_a_key_that_is_not_there_changes_no_state(world: World) -> None:
    with pytest.raises(KeyNotFound, match="keys list"), writing(db.session):
        change_state(db.session, world.clock, SYSTEM, "key_nosuch", DISABLE)
