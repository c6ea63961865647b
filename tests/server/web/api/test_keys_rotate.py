"""Rotation over HTTP: the new key in the answer, what becomes of the old one, and no key in a row or a log."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from mushu.destination import digest_of
from mushu.server.audit import AuditEvent
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.keys.service import get_key
from tests.server.conftest import api_key
from tests.server.web.api.rotating import DAY, HOUR, ask, deliver, flush, keep, owner, rotate, shown, value
from tests.server.web.api.test_keys import create, keys_of
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


def test_it_works_and_both_keys_say_what_became_of_them(house: House, stage: Stage) -> None:
    old = create(house, stage, name="backend", scopes=["read", "admin"])
    house.clock.turn(days=1)
    new = answer(rotate(house, stage, old["key_id"]))
    assert list(new) == ["key_id", "key", "name", "scopes", "created_at", "environment", "replaces"]
    assert new["key_id"] != old["key_id"]
    assert (new["name"], new["scopes"], new["replaces"]) == ("backend", ["read", "admin"], old["key_id"])
    assert new["created_at"] == rfc3339(house.clock())
    assert [ask(house, stage, key["key"]).status_code for key in (old, new)] == [200, 200]
    before, after = shown(house, stage, old["key_id"]), shown(house, stage, new["key_id"])
    assert (before["state"], before["replaced_by"]) == ("retiring", new["key_id"])
    assert (after["state"], after["replaces"]) == ("active", old["key_id"])
    assert "retires_at" not in before
    listed = answer(house.client.get(keys_of(stage), headers=owner(house, stage)))["api_keys"]
    assert {key["key_id"]: key for key in listed} == {old["key_id"]: before, new["key_id"]: after}
    with reading(db.session):
        query = select(AuditEvent).where(AuditEvent.target_id == old["key_id"]).order_by(AuditEvent.id)
        events = db.session.scalars(query).all()
    assert [event.action for event in events][-2:] == ["key.rotation_begun", "key.retiring"]
    assert events[-2].details == {"successor": new["key_id"]}
    assert {event.actor_id for event in events[-2:]} == {stage.owner.id}


def test_the_old_key_is_given_more_time_by_the_moment_in_which_it_ends(house: House, stage: Stage) -> None:
    old = create(house, stage)
    answer(rotate(house, stage, old["key_id"], deadline="1h", at_deadline="revoke"))
    until = rfc3339(house.clock() + DAY)

    def extend(moment: object) -> TestResponse:
        path = f"{keys_of(stage)}/{old['key_id']}/extend"
        return house.client.post(path, json={"retires_at": moment}, headers=owner(house, stage))

    assert [answer(extend(until))["retires_at"] for _ in range(2)] == [until, until]
    house.clock.turn(hours=23)
    assert ask(house, stage, old["key"]).status_code == 200
    for wrong in ("tomorrow", rfc3339(house.clock()), rfc3339(house.clock() + 400 * DAY), 7):
        refusal(extend(wrong), 422, "invalid_input")
    house.clock.turn(hours=1)
    refusal(ask(house, stage, old["key"]), 401, "deleted_credential")
    refusal(extend(rfc3339(house.clock() + DAY)), 409, "wrong_state")


def test_the_old_key_ends_when_it_settled_and_says_why(house: House, stage: Stage) -> None:
    old = create(house, stage)
    new = answer(rotate(house, stage, old["key_id"], settle="10m"))
    house.clock.turn(days=30)
    assert ask(house, stage, old["key"]).status_code == 200
    assert ask(house, stage, new["key"]).status_code == 200
    flush(house)
    house.clock.turn(minutes=10, microseconds=-1)
    assert shown(house, stage, old["key_id"])["retires_at"] is not None
    assert ask(house, stage, old["key"]).status_code == 200
    house.clock.turn(microseconds=1)
    sentences = []
    for act in (partial(flush, house), keep, keep):  # nobody has to write it down for it to be so
        sentences.append(refusal(ask(house, stage, old["key"]), 401, "deleted_credential")["detail"])
        act()
    assert len(set(sentences)) == 1
    assert "rotated" in sentences[0]
    assert "Load the one that took its place" in sentences[0]
    assert ask(house, stage, new["key"]).status_code == 200


@pytest.mark.parametrize(
    ("terms", "hours"), [({"now": True}, 0), ({"deadline": "2h", "at_deadline": "revoke"}, 2)], ids=str
)
def test_now_ends_it_in_the_same_moment_and_revoke_at_the_deadline(
    house: House, stage: Stage, terms: dict[str, object], hours: int
) -> None:
    old = create(house, stage)
    new = answer(rotate(house, stage, old["key_id"], **terms))
    if hours:
        house.clock.turn(hours=hours, microseconds=-1)
        assert ask(house, stage, old["key"]).status_code == 200
        house.clock.turn(microseconds=1)
    assert "rotated" in refusal(ask(house, stage, old["key"]), 401, "deleted_credential")["detail"]
    assert ask(house, stage, new["key"]).status_code == 200


def test_a_refused_request_with_the_new_key_is_a_use_all_the_same(house: House, stage: Stage) -> None:
    old = create(house, stage, scopes=["read"])
    new = answer(rotate(house, stage, old["key_id"]))
    refusal(house.client.get(keys_of(stage), headers=api_key(new["key"])), 403, "missing_scope")
    flush(house)
    assert shown(house, stage, old["key_id"])["retires_at"] == rfc3339(house.clock() + HOUR)


def test_each_key_of_a_line_can_rotate_itself_while_those_before_retire(house: House, stage: Stage) -> None:
    keys = [create(house, stage, scopes=["read", "admin"])]
    for _ in range(3):
        path, headers = f"{keys_of(stage)}/{keys[-1]['key_id']}/rotate", api_key(keys[-1]["key"])
        keys.append(answer(house.client.post(path, json={"settle": "1h"}, headers=headers)))
    assert [ask(house, stage, key["key"]).status_code for key in keys] == [200] * 4
    flush(house)
    house.clock.turn(hours=1)
    assert [ask(house, stage, key["key"]).status_code for key in keys] == [401] * 3 + [200]


def test_the_interval_and_the_length_of_life_begin_anew(house: House, stage: Stage) -> None:
    ends = rfc3339(house.clock() + 30 * DAY)
    old = create(house, stage, rotate_every="7d", expires_at=ends)
    assert (old["rotate_every"], old["rotate_at"]) == ("7d", rfc3339(house.clock() + 7 * DAY))
    house.clock.turn(days=8)
    new = answer(rotate(house, stage, old["key_id"]))
    assert (new["rotate_every"], new["rotate_at"]) == ("7d", rfc3339(house.clock() + 7 * DAY))
    assert new["expires_at"] == rfc3339(house.clock() + 30 * DAY)
    assert "rotate_at" not in shown(house, stage, old["key_id"])


def test_the_new_key_is_in_no_row_and_no_log(
    house: House, stage: Stage, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    delivered = answer(rotate(house, stage, deliver(stage, file)))
    new = answer(rotate(house, stage, create(house, stage)["key_id"]))["key"]
    for secret in (value(file), new):
        assert secret[9:31] not in str(all_rows())
        assert secret[9:31] not in caplog.text
    with reading(db.session):
        assert get_key(db.session, delivered["key_id"]).digest == digest_of(value(file))
