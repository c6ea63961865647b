"""What a destination holds already makes way if it is a key of ours that is over, and stays otherwise."""

import pytest

from tests.cli.conftest import ORG, Mushu
from tests.cli.deliveries import KEY_ID, OLD_ID, PATHS, Authority, Drawer
from tests.cli.stub import Stub, Told, problem

CREATE = ("api-key", "create", "--name", "backend", "--org", ORG)


@pytest.fixture
def authority(asking: Stub) -> Authority:
    return Authority(asking)


@pytest.mark.parametrize("state", ["revoked", "failed"])
def test_a_key_of_ours_that_is_over_makes_way_without_force(
    mushu: Mushu, authority: Authority, drawer: Drawer, state: str
) -> None:
    drawer.put("over")
    authority.knows("over", state=state)
    assert mushu(*CREATE, "--to", "drawer:desk").code == 0
    assert drawer.value == authority.secret.reveal()


def test_a_test_key_that_is_over_makes_way_for_a_live_key(mushu: Mushu, authority: Authority, drawer: Drawer) -> None:
    drawer.put("over")
    authority.stub.tell("POST", f"{PATHS['test']}/lookup", {"key_id": "key_1", "state": "revoked"})
    assert mushu(*CREATE, "--to", "drawer:desk").code == 0


@pytest.mark.parametrize("state", ["active", "disabled", "retiring", "expired", "something new"])
def test_a_key_of_ours_that_lives_stays_and_is_named(
    mushu: Mushu, authority: Authority, drawer: Drawer, state: str
) -> None:
    drawer.put("living")
    authority.knows("living", state=state, replaced_by=KEY_ID)
    ran = mushu(*CREATE, "--to", "drawer:desk")
    assert ran.code == 1
    assert f"drawer:desk holds {OLD_ID}, a key that is {state}." in ran.stderr
    assert f"`mushu api-key rotate {OLD_ID} --to URI`" in ran.stderr
    assert (drawer.value, authority.state) == ("living", "none")


def test_a_key_that_may_be_on_its_way_stays_and_the_way_out_is_told(
    mushu: Mushu, authority: Authority, drawer: Drawer
) -> None:
    drawer.put("under way")
    authority.knows("under way", state="pending")
    ran = mushu(*CREATE, "--to", "drawer:desk")
    assert ran.code == 1
    assert f"(mushu api-key delete {OLD_ID}) and try again." in ran.stderr
    assert drawer.value == "under way"


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (405, "method_not_allowed")])
def test_to_a_server_that_knows_no_look_up_every_value_is_foreign(
    mushu: Mushu, authority: Authority, drawer: Drawer, status: int, code: str
) -> None:
    drawer.put("mine")
    for path in PATHS.values():
        authority.stub.problem("POST", f"{path}/lookup", status, code, "No.")
    ran = mushu(*CREATE, "--to", "drawer:desk")
    assert ran.code == 1
    assert "drawer:desk holds a value already." in ran.stderr
    assert mushu(*CREATE, "--to", "drawer:desk", "--force").code == 0


@pytest.mark.parametrize(
    "answer",
    [problem(403, "missing_scope", "The scope admin is needed."), Told(b"", 502), Told({"key_id": "key_1"}), Told({})],
)
def test_where_nobody_can_say_whose_a_value_is_nothing_is_created(
    mushu: Mushu, authority: Authority, drawer: Drawer, answer: Told
) -> None:
    drawer.put("mine")
    authority.stub.tell("POST", f"{PATHS['live']}/lookup", answer)
    ran = mushu(*CREATE, "--to", "drawer:desk")
    assert ran.code == 1
    assert "No key was created." in ran.stderr
    assert (drawer.value, authority.state) == ("mine", "none")


def test_with_force_and_for_a_free_place_the_server_is_told_no_digest(
    mushu: Mushu, authority: Authority, drawer: Drawer
) -> None:
    assert mushu(*CREATE, "--to", "drawer:desk").code == 0
    drawer.put("mine")
    assert mushu(*CREATE, "--to", "drawer:desk", "--force").code == 0
    assert not [asked for asked in authority.stub.asked if asked.path.endswith("/lookup")]
