"""A key is asked for once, however often the answer is lost: each command has an Idempotency-Key of its own."""

from typing import Any

import pytest

from tests.cli.conftest import ORG, Mushu
from tests.cli.deliveries import KEY_ID, OLD_ID, Authority
from tests.cli.stub import Asked, Stub, Told, problem

KEYS = f"/orgs/{ORG}/api-keys"
ROTATE = f"{KEYS}/{OLD_ID}/rotate"
KEY = "msk_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxx"
MADE = {"key_id": KEY_ID, "key": KEY, "name": "n", "scopes": ["read"], "created_at": "x"}
COMMANDS = {
    KEYS: ["api-key", "create", "--name", "n", "--org", ORG],
    ROTATE: ["api-key", "rotate", OLD_ID, "--org", ORG, "--show"],
}
TROUBLE = Told({}, 502, {"Content-Type": "text/html"})
AT_EITHER = pytest.mark.parametrize("path", COMMANDS)

pytestmark = pytest.mark.usefixtures("impatient")


def marks(asking: Stub, path: str) -> list[str]:
    return [asked.headers["idempotency-key"] for asked in asking.asked_for("POST", path)]


def refused(code: str, key_id: object = KEY_ID) -> Told:
    told = problem(409, code, "The server's words.")
    return Told(told.body | {"key_id": key_id}, told.status, told.headers)


@AT_EITHER
def test_it_is_asked_for_again_under_the_same_mark_and_the_next_one_under_another(
    mushu: Mushu, asking: Stub, path: str
) -> None:
    asking.tell("POST", path, TROUBLE, TROUBLE, MADE, TROUBLE)
    assert mushu(*COMMANDS[path]).json["key_id"] == KEY_ID
    assert mushu(*COMMANDS[path]).code == 1
    sent = marks(asking, path)
    assert len(sent) == 6
    assert (len(set(sent[:3])), len(set(sent[3:])), len(set(sent))) == (1, 1, 2)


@pytest.mark.parametrize(
    ("path", "way"),
    [
        (KEYS, f"Delete it with `mushu api-key delete {KEY_ID}`, and create another."),
        (ROTATE, f"Rotate it in turn: `mushu api-key rotate {KEY_ID} --show`."),
    ],
)
def test_a_key_whose_answer_was_lost_is_named_and_what_to_do(mushu: Mushu, asking: Stub, path: str, way: str) -> None:
    asking.tell("POST", path, TROUBLE, refused("already_created"))
    ran = mushu(*COMMANDS[path]).fails()
    assert ran.stderr == f"Error: {KEY_ID} was created, and the answer with the key was lost on the way. {way}\n"


@AT_EITHER
def test_what_is_being_worked_on_is_waited_for(mushu: Mushu, asking: Stub, path: str) -> None:
    delivered = {name: value for name, value in MADE.items() if name != "key"} | {"delivered_to": ["env:/srv/.env#K"]}
    asking.tell("POST", path, TROUBLE, refused("in_progress"), delivered)
    assert mushu(*COMMANDS[path]).json["delivered_to"] == ["env:/srv/.env#K"]


@pytest.mark.parametrize(
    ("path", "told", "sentence"),
    [
        (KEYS, TROUBLE, "A key may have been created all the same: see `mushu api-key list`."),
        (ROTATE, TROUBLE, f"It may have been rotated all the same: see `mushu api-key show {OLD_ID}`."),
        (KEYS, Told({"key_id": KEY_ID}), "it holds no key"),
        (ROTATE, Told({"key_id": KEY_ID, "delivered_to": []}), "it holds no key"),
    ],
)
def test_an_answer_that_is_lost_or_holds_no_key_is_no_success(
    mushu: Mushu, asking: Stub, path: str, told: Told, sentence: str
) -> None:
    asking.tell("POST", path, told)
    mushu(*COMMANDS[path]).fails(sentence)


@AT_EITHER
def test_what_is_worked_on_for_too_long_is_said(mushu: Mushu, asking: Stub, path: str) -> None:
    asking.tell("POST", path, TROUBLE, refused("in_progress"))
    mushu(*COMMANDS[path]).fails(f"still delivering {KEY_ID}. `mushu api-key show {KEY_ID}` shows its state.")
    assert len(marks(asking, path)) == 3


@pytest.mark.parametrize("code", ["already_created", "in_progress"])
@pytest.mark.parametrize("key_id", [None, 7, "../x", "key_1\n", "x" * 65, {}])
def test_a_refusal_that_names_no_key_is_told_in_the_server_s_words(
    mushu: Mushu, asking: Stub, code: str, key_id: object
) -> None:
    asking.tell("POST", KEYS, TROUBLE, refused(code, key_id))
    assert mushu(*COMMANDS[KEYS]).stderr == "Error: The server's words.\n"


def test_a_key_to_deliver_from_here_whose_answer_was_lost_is_deleted(mushu: Mushu, asking: Stub) -> None:
    authority = Authority(asking)
    create = authority._create
    told: list[Any] = [lambda asked: (create(asked), TROUBLE)[1], lambda asked: refused("already_created")]

    def lose(asked: Asked) -> Told:
        answered: Told = told.pop(0)(asked)
        return answered

    asking.tell("POST", KEYS, lose)
    ran = mushu(*COMMANDS[KEYS], "--to", "env:.env")
    assert (ran.code, authority.state) == (1, "revoked")
    assert ran.stderr == (
        f"Error: The answer with the key was lost on the way. {KEY_ID} was deleted. Run the command again.\n"
    )
    assert len(set(marks(asking, KEYS))) == 1
