"""`flask keys rotate --due`: what a timer does, what it tells, and with which status it ends."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from mushu.destination import Attempt, Destination, Receipt, Secret, digest_of
from mushu.server.audit import SYSTEM
from mushu.server.clock import rfc3339, utc_now
from mushu.server.core import context_for, db, get_core
from mushu.server.db import writing
from mushu.server.delivery.ledger import list_deliveries
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.rotation import Terms
from mushu_dotenv import DotenvDestination
from tests.server.commands.conftest import Run
from tests.server.commands.test_key_rotation import created, key, rotation_to, shows_no_key, state, value
from tests.server.verbs import succeed, use_key

pytestmark = pytest.mark.unmeasured

_DAY = timedelta(days=1)


class Killed(BaseException):
    """The process is gone."""


def make_due(*key_ids: str) -> None:
    """Let the interval of these keys be over, the first first."""
    with writing(db.session):
        for number, key_id in enumerate(key_ids):
            db.session.get_one(ApiKey, key_id).rotate_at = utc_now() - _DAY + timedelta(seconds=number)


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
        new_id = run("keys", "show", old_id).json["replaced_by"]
        assert digest_of(value(tmp_path / ".env")) == key(new_id).digest
        assert rotation_to(new_id).settle_seconds == 300
        assert run("keys", "rotate", "--due").stdout == "No key is due.\n"

    @pytest.mark.fault
    def test_what_is_odd_about_a_new_key_stands_in_its_row(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        make_due(created(run, "--to", "env:.env", "--rotate-every", "90d"))
        read = DotenvDestination.read
        monkeypatch.setattr(DotenvDestination, "read", lambda place: replace(read(place), warnings=("It ends soon.",)))
        assert run("keys", "rotate", "--due").rows[1][3].endswith("MUSHU_API_KEY: It ends soon.")

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
        # `--due` itself has no --force.
        assert ran.json[1]["detail"].endswith(f"`flask keys rotate {second} --force` overwrites it.")
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

    def test_where_one_organization_is_named_nothing_is_done_for_another(self, run: Run, tmp_path: Path) -> None:
        run("orgs", "create", "other", "--owner", "ada@example.com")
        old_id = created(run)
        run("keys", "rotate", old_id, "--now", "--to", "env:new.env")
        with writing(db.session):  # as if the old value could not be taken away yet
            for delivery in list_deliveries(db.session, [old_id]):
                delivery.cleanup_due = True
        ran = run("keys", "rotate", "--due", "--org", "other")
        assert (ran.code, ran.stdout) == (0, "No key is due.\n")
        assert value(tmp_path / ".env")
        assert "cleaned_up" in run("keys", "rotate", "--due").stdout

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
            use_key(old_id, seen)
        ran = run("keys", "rotate", "--due", "--json")
        assert ran.code == 3
        (row,) = ran.json
        assert (row["key_id"], row["name"], row["result"]) == (old_id, "backend", "stalled")
        assert new_id in row["detail"]
        assert f"flask keys delete {old_id}" in row["detail"]
        said = f"it was last used {rfc3339(seen)} from 192.0.2.7" if used else "it was never used"
        assert said in row["detail"]
        assert state(old_id) == "retiring"
        use_key(new_id, seen)
        assert run("keys", "rotate", "--due").code == 0

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

    context = replace(context_for(SYSTEM), open_destination=open_destination)
    with pytest.raises(Killed):
        succeed(context, key_id, Terms())
    with writing(db.session):
        successor = db.session.query(Rotation).filter_by(predecessor_id=key_id).one().successor_id
        for delivery in list_deliveries(db.session, [successor]):
            delivery.lease_until = utc_now() - timedelta(microseconds=1)
