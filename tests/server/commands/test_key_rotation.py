"""`flask keys rotate`: as an operator types it, and as a timer does."""

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from dotenv import dotenv_values

from mushu.destination import Attempt, Destination, Receipt, Secret, digest_of
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.audit.service import SYSTEM
from mushu.server.clock import rfc3339, utc_now
from mushu.server.core import courier_for, db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.ledger import list_deliveries
from mushu.server.delivery.protocol import Courier
from mushu.server.delivery.rotation import Rotator
from mushu.server.keys.models import ApiKey, AtDeadline, Rotation
from mushu.server.keys.rotation import Terms, find_rotation_to
from mushu.server.keys.service import get_key
from mushu.server.usage.service import Uses, add_uses
from tests.ran import Ran
from tests.server.commands.conftest import Run

CREATE = ("keys", "create", "--org", "acme", "--name", "backend")
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class Killed(BaseException):
    """The process is gone."""


def created(run: Run, *arguments: str) -> str:
    """Return the id of a new key; it is in `.env` unless another place is given."""
    made = run(*CREATE, *(arguments or ("--to", "env:.env")))
    assert made.code == 0, made.stderr
    key_id: str = made.json["key_id"]
    return key_id


def value(path: Path) -> str:
    return dotenv_values(path)["MUSHU_API_KEY"] or ""


def key(key_id: str) -> ApiKey:
    with reading(db.session):
        found = get_key(db.session, key_id)
        db.session.refresh(found)
    return found


def state(key_id: str) -> str:
    return key(key_id).state(utc_now())


def rotation_to(key_id: str) -> Rotation:
    with reading(db.session):
        found = find_rotation_to(db.session, key_id)
    assert found is not None
    return found


def shows_no_key(ran: Ran) -> bool:
    return CREDENTIAL_PATTERN.search(ran.stdout + ran.stderr) is None


def make_due(*key_ids: str) -> None:
    """Let the interval of these keys be over, the first first."""
    with writing(db.session):
        for number, key_id in enumerate(key_ids):
            db.session.get_one(ApiKey, key_id).rotate_at = utc_now() - _DAY + timedelta(seconds=number)


@pytest.mark.usefixtures("in_core", "acme")
class TestOne:
    def test_the_new_key_lies_where_the_old_one_did_and_both_work(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run)
        old = value(tmp_path / ".env")
        ran = run("keys", "rotate", old_id)
        assert (ran.code, ran.stderr) == (0, "")
        fields = ["key_id", "name", "scopes", "created_at", "environment", "replaces", "delivered_to"]
        assert list(ran.json) == fields
        assert ran.json["delivered_to"] == [f"env:{tmp_path}/.env#MUSHU_API_KEY"]
        assert shows_no_key(ran)
        assert digest_of(value(tmp_path / ".env")) == key(ran.json["key_id"]).digest != digest_of(old)
        assert (state(old_id), state(ran.json["key_id"])) == ("retiring", "active")
        assert run("keys", "show", old_id).json["replaced_by"] == ran.json["key_id"]

    def test_the_terms_are_those_that_were_said_or_an_hour_and_a_week(self, run: Run) -> None:
        plain = rotation_to(run("keys", "rotate", created(run, "--to", "env:a.env")).json["key_id"])
        assert Terms.of(plain) == Terms(settle=_HOUR, deadline=7 * _DAY, at_deadline=AtDeadline.KEEP, at_once=False)
        said = ("--settle", "30m", "--deadline", "2d", "--at-deadline", "revoke")
        found = rotation_to(run("keys", "rotate", created(run, "--to", "env:b.env"), *said).json["key_id"])
        assert Terms.of(found) == Terms(settle=_HOUR / 2, deadline=2 * _DAY, at_deadline=AtDeadline.REVOKE)
        assert found.handed_over_at is not None
        assert key(found.predecessor_id).retires_at == found.handed_over_at + 2 * _DAY

    def test_now_ends_the_old_key_at_once(self, run: Run) -> None:
        old_id = created(run)
        assert run("keys", "rotate", old_id, "--now").code == 0
        assert key(old_id).stored_state == "revoked"

    def test_another_place_takes_the_new_key_and_the_old_one_stays_where_it_is(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run)
        old = value(tmp_path / ".env")
        ran = run("keys", "rotate", old_id, "--to", "env:a.env", "--to", "env:b.env")
        assert ran.json["delivered_to"] == [f"env:{tmp_path}/{name}.env#MUSHU_API_KEY" for name in "ab"]
        assert shows_no_key(ran)
        assert value(tmp_path / "a.env") == value(tmp_path / "b.env") != old
        assert value(tmp_path / ".env") == old

    def test_show_once_prints_the_new_key_and_touches_no_file(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run)
        content = (tmp_path / ".env").read_bytes()
        ran = run("keys", "rotate", old_id, "--show-once")
        assert list(ran.json)[:2] == ["key_id", "key"]
        assert digest_of(ran.json["key"]) == key(ran.json["key_id"]).digest
        assert ran.json["replaces"] == old_id
        assert CREDENTIAL_PATTERN.search(ran.stderr) is None
        assert (tmp_path / ".env").read_bytes() == content

    def test_a_foreign_value_is_overwritten_with_force_only(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run)
        (tmp_path / ".env").write_text("MUSHU_API_KEY=theirs\n")
        refused = run("keys", "rotate", old_id)
        assert (refused.code, refused.stdout) == (1, "")
        assert "--force" in refused.stderr
        assert value(tmp_path / ".env") == "theirs"
        assert state(old_id) == "active"
        assert run("keys", "rotate", old_id, "--force").code == 0
        assert value(tmp_path / ".env").startswith("msk_live_")

    def test_a_key_that_lies_nowhere_needs_to_be_told_where_to(self, run: Run) -> None:
        old_id = created(run, "--show-once")
        refused = run("keys", "rotate", old_id)
        assert (refused.code, refused.stdout) == (1, "")
        assert "--to" in refused.stderr
        assert "--show-once" in refused.stderr
        assert run("keys", "rotate", old_id, "--to", "env:.env").code == 0

    def test_a_key_in_another_state_says_what_to_do(self, run: Run) -> None:
        old_id = created(run)
        run("keys", "disable", old_id)
        refused = run("keys", "rotate", old_id)
        assert (refused.code, refused.stdout) == (1, "")
        assert f"flask keys enable {old_id}" in refused.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["KEY", "--due"],
            ["KEY", "--org", "acme"],
            ["--org", "acme"],
            ["--due", "--to", "env:x.env"],
            ["--due", "--show-once"],
            ["--due", "--force"],
            ["KEY", "--to", "env:x.env", "--show-once"],
            ["KEY", "--at-deadline", "explode"],
            ["KEY", "OTHER"],
        ],
        ids=" ".join,
    )
    def test_what_cannot_be_meant_is_a_usage_error(self, run: Run, tmp_path: Path, arguments: list[str]) -> None:
        old_id = created(run)
        before = (tmp_path / ".env").read_bytes()
        refused = run("keys", "rotate", *[old_id if argument == "KEY" else argument for argument in arguments])
        assert (refused.code, refused.stdout) == (2, "")
        assert "Usage: flask keys rotate" in refused.stderr
        assert (tmp_path / ".env").read_bytes() == before
        assert not (tmp_path / "x.env").exists()

    @pytest.mark.parametrize(
        "terms", [["--settle", "0s"], ["--settle", "2y"], ["--deadline", "367d"], ["--settle", ""]]
    )
    def test_terms_that_cannot_be_kept_rotate_nothing(self, run: Run, tmp_path: Path, terms: list[str]) -> None:
        old_id = created(run)
        old = value(tmp_path / ".env")
        refused = run("keys", "rotate", old_id, *terms)
        assert (refused.code, refused.stdout) == (1, "")
        assert "uration" in refused.stderr
        assert (state(old_id), value(tmp_path / ".env")) == ("active", old)

    def test_an_interval_is_said_when_the_key_is_created(self, run: Run) -> None:
        made = run(*CREATE, "--to", "env:.env", "--rotate-every", "90d").json
        assert made["rotate_every"] == "90d"
        assert made["rotate_at"] == rfc3339(key(made["key_id"]).created_at + 90 * _DAY)
        refused = run(*CREATE, "--to", "env:other.env", "--rotate-every", "30m")
        assert (refused.code, refused.stdout) == (1, "")
        assert "hour" in refused.stderr
        assert len(run("keys", "list", "--org", "acme", "--all", "--json").json) == 1


@pytest.mark.usefixtures("in_core", "acme")
class TestDue:
    def test_nothing_is_due(self, run: Run) -> None:
        created(run, "--to", "env:.env", "--rotate-every", "90d")
        ran = run("keys", "rotate", "--due")
        assert (ran.code, ran.stdout) == (0, "No key is due.\n")
        assert run("keys", "rotate", "--due", "--json").json == []

    def test_what_is_due_is_rotated_once(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run, "--to", "env:.env", "--rotate-every", "90d")
        make_due(old_id)
        ran = run("keys", "rotate", "--due", "--settle", "5m")
        assert ran.code == 0
        assert ran.rows[0] == ["KEY_ID", "NAME", "RESULT", "DETAIL"]
        assert ran.rows[1][:3] == [old_id, "backend", "rotated"]
        assert shows_no_key(ran)
        new_id = key(old_id).id and run("keys", "show", old_id).json["replaced_by"]
        assert digest_of(value(tmp_path / ".env")) == key(new_id).digest
        assert rotation_to(new_id).settle == timedelta(minutes=5)
        assert run("keys", "rotate", "--due").stdout == "No key is due.\n"

    def test_one_that_fails_keeps_none_of_the_others_back(self, run: Run, tmp_path: Path) -> None:
        places = {
            created(run, "--to", f"env:{name}.env", "--rotate-every", "1d"): tmp_path / f"{name}.env" for name in "abc"
        }
        first, second, third = places
        make_due(first, second, third)
        places[second].write_text("MUSHU_API_KEY=theirs\n")
        ran = run("keys", "rotate", "--due", "--json")
        assert ran.code == 1
        assert [(row["key_id"], row["result"]) for row in ran.json] == [
            (first, "rotated"),
            (second, "failed"),
            (third, "rotated"),
        ]
        assert shows_no_key(ran)
        assert value(places[second]) == "theirs"
        assert [state(key_id) for key_id in places] == ["retiring", "active", "retiring"]

    def test_of_one_organization_only_where_it_is_named(self, run: Run) -> None:
        run("orgs", "create", "other", "--owner", "ada@example.com")
        here = created(run, "--to", "env:a.env")
        there = run("keys", "create", "--org", "other", "--name", "k", "--to", "env:b.env").json["key_id"]
        make_due(here, there)
        (row,) = run("keys", "rotate", "--due", "--org", "other", "--json").json
        assert (row["key_id"], row["result"]) == (there, "rotated")
        assert state(here) == "active"
        assert run("keys", "rotate", "--due", "--org", "nosuch").code == 1

    @pytest.mark.parametrize("used", [True, False])
    def test_a_stalled_rotation_says_which_key_is_used_when_and_from_where(self, run: Run, used: bool) -> None:
        old_id = created(run)
        new_id = run("keys", "rotate", old_id).json["key_id"]
        assert run("keys", "rotate", "--due").code == 0
        seen = utc_now()
        with writing(db.session):
            found = db.session.get_one(Rotation, new_id)
            assert found.handed_over_at is not None
            found.handed_over_at -= 7 * _DAY
            if used:
                add_uses(db.session, {old_id: Uses(seen, seen, "192.0.2.7")})
        ran = run("keys", "rotate", "--due", "--json")
        assert ran.code == 3
        (row,) = ran.json
        assert (row["key_id"], row["name"], row["result"]) == (old_id, "backend", "stalled")
        assert new_id in row["detail"]
        assert f"flask keys delete {old_id}" in row["detail"]
        said = f"it was last used {rfc3339(seen)} from 192.0.2.7" if used else "it was never used"
        assert said in row["detail"]
        assert state(old_id) == "retiring"
        with writing(db.session):
            add_uses(db.session, {new_id: Uses(seen, seen, "192.0.2.7")})
            db.session.get_one(Rotation, new_id).first_used_at = seen
        assert run("keys", "rotate", "--due").code == 0

    def test_one_that_was_cut_off_is_done_again(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run, "--to", "env:a.env", "--to", "env:b.env")
        cut_off(old_id, tmp_path / "b.env")
        assert value(tmp_path / "a.env") != value(tmp_path / "b.env")
        ran = run("keys", "rotate", "--due", "--json")
        assert ran.code == 0, ran.stderr
        assert (old_id, "rotated") in {(row["key_id"], row["result"]) for row in ran.json}
        assert shows_no_key(ran)
        new_id = run("keys", "show", old_id).json["replaced_by"]
        assert {digest_of(value(tmp_path / f"{name}.env")) for name in "ab"} == {key(new_id).digest}
        assert (state(old_id), state(new_id)) == ("retiring", "active")

    def test_one_that_was_cut_off_and_cannot_be_done_again_is_no_success(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run, "--to", "env:a.env", "--to", "env:b.env")
        cut_off(old_id, tmp_path / "b.env")
        (tmp_path / "b.env").chmod(0o666)
        ran = run("keys", "rotate", "--due", "--json")
        assert ran.code == 1
        assert (old_id, "unreachable") in {(row["key_id"], row["result"]) for row in ran.json}
        assert state(old_id) == "active"
        (tmp_path / "b.env").chmod(0o600)
        assert run("keys", "rotate", "--due").code == 0
        assert value(tmp_path / "a.env") == value(tmp_path / "b.env")


class _Dying:
    """A destination whose process is killed as it writes."""

    def __init__(self, real: Destination) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        raise Killed


def cut_off(key_id: str, place: Path) -> None:
    """Rotate a key in a process that is killed when it comes to `place`, and let its lease run out."""
    core = get_core()

    def open_destination(uri: str) -> Destination:
        real = core.open_destination(uri)
        return cast(Destination, _Dying(real)) if str(place) in uri else real

    courier = Courier(db.session, core.clock, SYSTEM, open_destination, courier_for(SYSTEM).lease)
    with pytest.raises(Killed):
        Rotator(courier).rotate(key_id, Terms())
    with writing(db.session):
        successor = db.session.query(Rotation).filter_by(predecessor_id=key_id).one().successor_id
        for delivery in list_deliveries(db.session, [successor]):
            delivery.lease_until = utc_now() - timedelta(microseconds=1)
