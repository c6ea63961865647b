"""What a destination holds already makes way if it is a key of ours that is over, and stays otherwise."""

import pytest

from tests.cli.deliveries import KEY_ID, OLD_ID, PATHS, Desk
from tests.cli.stub import Told, problem


@pytest.mark.parametrize("state", ["revoked", "failed"])
def test_a_key_of_ours_that_is_over_makes_way_without_force(desk: Desk, state: str) -> None:
    desk.drawer.put("over")
    desk.authority.knows("over", state=state)
    assert desk.create().code == 0
    assert desk.drawer.value == desk.authority.secret.reveal()


def test_a_test_key_that_is_over_makes_way_for_a_live_key(desk: Desk) -> None:
    desk.drawer.put("over")
    desk.authority.stub.tell("POST", f"{PATHS['test']}/lookup", {"key_id": "key_1", "state": "revoked"})
    assert desk.create().code == 0


@pytest.mark.parametrize("state", ["active", "disabled", "retiring", "expired", "something new"])
def test_a_key_of_ours_that_lives_stays_and_is_named(desk: Desk, state: str) -> None:
    desk.drawer.put("living")
    desk.authority.knows("living", state=state, replaced_by=KEY_ID)
    desk.create().fails(
        f"drawer:desk holds {OLD_ID}, a key that is {state}.", f"`mushu api-key rotate {OLD_ID} --to URI`"
    )
    assert (desk.drawer.value, desk.authority.state) == ("living", "none")


def test_a_key_that_may_be_on_its_way_stays_and_the_way_out_is_told(desk: Desk) -> None:
    desk.drawer.put("under way")
    desk.authority.knows("under way", state="pending")
    desk.create().fails(f"(mushu api-key delete {OLD_ID}) and try again.")
    assert desk.drawer.value == "under way"


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (405, "method_not_allowed")])
def test_to_a_server_that_knows_no_look_up_every_value_is_foreign(desk: Desk, status: int, code: str) -> None:
    desk.drawer.put("mine")
    for path in PATHS.values():
        desk.authority.stub.problem("POST", f"{path}/lookup", status, code, "No.")
    desk.create().fails("drawer:desk holds a value already.")
    assert desk.create("--force").code == 0


@pytest.mark.parametrize(
    "answer",
    [problem(403, "missing_scope", "The scope admin is needed."), Told(b"", 502), Told({"key_id": "key_1"}), Told({})],
)
def test_where_nobody_can_say_whose_a_value_is_nothing_is_created(desk: Desk, answer: Told) -> None:
    desk.drawer.put("mine")
    desk.authority.stub.tell("POST", f"{PATHS['live']}/lookup", answer)
    desk.create().fails("No key was created.")
    assert (desk.drawer.value, desk.authority.state) == ("mine", "none")


def test_with_force_and_for_a_free_place_the_server_is_told_no_digest(desk: Desk) -> None:
    assert desk.create().code == 0
    desk.drawer.put("mine")
    assert desk.create("--force").code == 0
    assert not [asked for asked in desk.authority.stub.asked if asked.path.endswith("/lookup")]
