"""What a command advises beyond what the service says; over HTTP the same refusals say other things."""

from pathlib import Path

import pytest

from mushu.server.commands.common import of_refusal
from mushu.server.commands.key_output import of_drift
from mushu.server.delivery.drift import DriftResult
from mushu.server.delivery.models import Condition
from mushu.server.errors import DestinationHeld, Invalid
from mushu.server.keys.states import State
from tests.server.commands.conftest import Run
from tests.server.commands.naming import add, check, deliver

MINE = "MUSHU_API_KEY=mine\n"


def look(condition: Condition, state: State = State.ACTIVE) -> str:
    return of_drift(DriftResult("key_1", "k", state, "env:/a#B", condition, "It is so."))


class TestOfRefusal:
    def test_force_is_advised_where_a_value_is_in_the_way_and_not_elsewhere(self) -> None:
        assert of_refusal(DestinationHeld("It is held.", overwritable=True)).endswith("--force overwrites it.")
        for error in (DestinationHeld("It is being delivered."), Invalid("It is not valid.")):
            assert of_refusal(error) == error.detail

    @pytest.mark.usefixtures("acme")
    def test_a_living_key_is_named_by_its_id_with_every_way_out(self, run: Run) -> None:
        created = ("keys", "create", "--org", "acme", "--name", "k", "--to", "env:.env")
        key_id = run(*created).json["key_id"]
        refused = run(*created)
        assert refused.code == 1
        assert f"holds {key_id}, which is not over. Rotate or delete that key" in refused.stderr
        assert refused.stderr.endswith("--force overwrites it.\n")
        assert run(*created, "--force").code == 0


class TestOfLook:
    def test_a_rotation_puts_a_new_key_there_and_force_is_only_for_what_is_overwritten(self) -> None:
        assert look(Condition.MISSING) == "It is so. `flask keys rotate key_1` puts a new key there."
        assert "--force" in look(Condition.DRIFTED)

    @pytest.mark.parametrize("condition", [Condition.MISSING, Condition.DRIFTED])
    def test_what_is_advised_is_what_the_state_of_the_key_allows(self, condition: Condition) -> None:
        assert "`flask keys enable key_1`, then" in look(condition, State.DISABLED)
        assert "`flask" not in look(condition, State.RETIRING)
        assert "--force" not in look(condition, State.DISABLED) + look(condition, State.RETIRING)

    @pytest.mark.parametrize("condition", [Condition.OK, Condition.DENIED, Condition.UNREACHABLE])
    def test_where_a_rotation_would_not_help_it_is_not_advised(self, condition: Condition) -> None:
        assert look(condition) == "It is so."


@pytest.mark.usefixtures("acme")
def test_a_named_place_with_a_foreign_value_says_which_commands_overwrite_it(run: Run, tmp_path: Path) -> None:
    add(run)
    (tmp_path / ".env").write_text(MINE)
    (tmp_path / ".env").chmod(0o600)
    code, answer = check(run)
    assert (code, answer["holds"]) == (3, "foreign")
    assert "--force" not in str(answer)
    assert "With --force, `flask keys create`" in run("destinations", "check", "backend", "--org", "acme").stderr


@pytest.mark.usefixtures("acme")
class TestPlacesOfOthers:
    @pytest.fixture(autouse=True)
    def _two_organizations(self, run: Run, acme: str) -> None:
        run("orgs", "create", "rival", "--owner", "ada@example.com")
        assert add(run, "backend", "env:.env").code == 0

    def test_who_delivers_into_one_is_told_and_it_is_done(self, run: Run, tmp_path: Path, acme: str) -> None:
        ran = deliver(run, "env:.env", "env:other.env", org="rival")
        assert ran.code == 0
        assert ran.stderr == (
            f"env:{tmp_path}/.env#MUSHU_API_KEY is the destination backend of {acme}, which can use it for no key of "
            f"its own while {ran.json['key_id']} lives there. If that was not meant: "
            f"`flask keys delete {ran.json['key_id']}`.\n"
        )
        assert run("keys", "delete", ran.json["key_id"], "--yes").code == 0
        assert deliver(run, "env:.env").stderr == ""

    def test_who_rotates_into_one_is_told(self, run: Run) -> None:
        key_id = deliver(run, "env:other.env", org="rival").json["key_id"]
        ran = run("keys", "rotate", key_id, "--to", "env:.env")
        assert ran.code == 0
        assert "is the destination backend of" in ran.stderr

    def test_one_of_the_same_organization_or_without_a_name_is_nothing_to_tell(self, run: Run) -> None:
        assert deliver(run, "env:.env", "env:other.env").stderr == ""

    def test_a_name_that_was_taken_away_is_none(self, run: Run) -> None:
        assert run("destinations", "remove", "backend", "--org", "acme", "--yes").code == 0
        assert deliver(run, "env:.env", org="rival").stderr == ""
