"""`flask keys rotate`: as an operator types it, and as a timer does."""

from datetime import timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values
from sqlalchemy import select

from mushu.destination import digest_of
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.clock import rfc3339, utc_now
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.revocation_journal import JournalPosition
from mushu.server.keys.rotation import Terms, find_rotation_to
from mushu.server.keys.service import get_key
from mushu.server.keys.states import AtDeadline, State
from tests.ran import Ran
from tests.server.commands.conftest import Run

pytestmark = pytest.mark.unmeasured

CREATE = ("keys", "create", "--org", "acme", "--name", "backend")
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


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

    @pytest.mark.parametrize("arguments", [[], ["--show-once"], ["--due"], ["--due", "--org", "acme"]])
    def test_a_deleted_key_has_no_successor_though_an_old_database_was_put_back(
        self, run: Run, arguments: list[str]
    ) -> None:
        old_id = created(run, "--to", "env:.env", "--rotate-every", "90d")
        assert run("keys", "delete", old_id, "--yes").code == 0
        with writing(db.session):  # the row as it was before
            old = get_key(db.session, old_id)
            old.stored_state, old.revoked_at, old.rotate_at = State.ACTIVE, None, old.created_at
            for position in db.session.scalars(select(JournalPosition)):
                db.session.delete(position)
        ran = run("keys", "rotate", *arguments, *([] if "--due" in arguments else [old_id]))
        assert CREDENTIAL_PATTERN.search(ran.stdout) is None
        assert (f"{old_id}  " in ran.stdout and "it is deleted again" in ran.stdout) is ("--due" in arguments)
        assert state(old_id) == "revoked"
        assert [row["key_id"] for row in run("keys", "list", "--org", "acme", "--all", "--json").json] == [old_id]

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
        ran = run("keys", "rotate", old_id, "--to", "env:a.env", "--to", "env:b.env", "--with-url")
        assert ran.json["delivered_to"] == [f"env:{tmp_path}/{name}.env#MUSHU_API_KEY" for name in "ab"]
        assert shows_no_key(ran)
        assert value(tmp_path / "a.env") == value(tmp_path / "b.env") != old
        assert value(tmp_path / ".env") == old
        assert all("MUSHU_URL=http" in (tmp_path / f"{name}.env").read_text() for name in "ab")
        assert run("keys", "rotate", old_id, "--with-url").code == 2

    def test_show_once_prints_the_new_key_and_touches_no_file(self, run: Run, tmp_path: Path) -> None:
        old_id = created(run)
        content = (tmp_path / ".env").read_bytes()
        ran = run("keys", "rotate", old_id, "--show-once")
        assert list(ran.json)[:2] == ["key_id", "key"]
        assert digest_of(ran.json["key"]) == key(ran.json["key_id"]).digest
        assert ran.json["replaces"] == old_id
        assert CREDENTIAL_PATTERN.search(ran.stderr) is None
        assert (tmp_path / ".env").read_bytes() == content

    def test_a_key_that_lies_nowhere_needs_to_be_told_where_to(self, run: Run) -> None:
        old_id = created(run, "--show-once")
        refused = run("keys", "rotate", old_id)
        assert (refused.code, refused.stdout) == (1, "")
        assert "--to" in refused.stderr
        assert "--show-once" in refused.stderr
        assert run("keys", "rotate", old_id, "--to", "env:.env").code == 0

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
        earliest, latest = key(made["key_id"]).created_at + 90 * _DAY, utc_now() + 90 * _DAY
        assert rfc3339(earliest) <= made["rotate_at"] <= rfc3339(latest)  # the interval begins when the key is active
        refused = run(*CREATE, "--to", "env:other.env", "--rotate-every", "30m")
        assert (refused.code, refused.stdout) == (1, "")
        assert "hour" in refused.stderr
        assert len(run("keys", "list", "--org", "acme", "--all", "--json").json) == 1
