from typing import Any

import pytest

from tests.cli.conftest import Mushu
from tests.cli.stub import Stub, Told, problem

TOKEN = "a1" * 32
SENT = {"success": True, "message_id": "message_1", "error": None}


@pytest.fixture
def shop(mushu: Mushu, acme: str) -> str:
    """The id of a test tenant that commands are about."""
    created = mushu("tenant", "create", "--bundle-id", "com.example.shop", "--org", acme, "--env", "test")
    tenant_id: str = created.json["tenant_id"]
    assert mushu("tenant", "use", tenant_id).code == 0
    return tenant_id


@pytest.fixture
def tenant(asking: Stub, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a tenant of the stub."""
    monkeypatch.setenv("MUSHU_TENANT_ID", "tenant_1")
    return "tenant_1"


def test_a_device_is_registered_listed_and_unregistered_on_whichever_side_its_tenant_stands(
    mushu: Mushu, shop: str
) -> None:
    registered = mushu("device", "register", "--user", "grace", "--token", TOKEN, "--version", "2.1").ok()
    assert (registered.json["platform"], registered.json["environment"]) == ("ios", "test")
    again = mushu("device", "register", "-u", "grace", "--token", TOKEN, "-p", "watchos", "--tenant", shop)
    assert again.json["platform"] == "watchos"
    listed = mushu("device", "list", "--user", "grace")
    assert listed.rows == [
        ["TOKEN", "USER_ID", "PLATFORM", "VERSION", "UPDATED"],
        [TOKEN, "grace", "watchos", "-", "2026-01-15"],
    ]
    assert mushu("device", "list", "--user", "heidi", "--json").json == []
    mushu("device", "unregister", "--token", TOKEN, "--user", "heidi").fails("heidi has no device with this token.")
    ran = mushu("device", "unregister", "--token", TOKEN.upper(), "--user", "grace")
    assert ran.json == {"token": TOKEN.upper(), "tenant_id": shop, "unregistered": True}
    mushu("device", "unregister", "--token", TOKEN).fails("This tenant has no device with this token.")


def test_a_token_that_could_lead_elsewhere_goes_nowhere(mushu: Mushu, asking: Stub, tenant: str) -> None:
    for token in ("..", "a/b", "a?b", ""):
        assert mushu("device", "unregister", "--token", token).code == 1
    assert asking.asked == []


def test_a_notification_goes_out_with_what_was_said_of_it_and_nothing_else(
    mushu: Mushu, asking: Stub, tenant: str
) -> None:
    asking.tell("POST", "/tenants/tenant_1/notify", SENT)
    ran = mushu(
        "push", "send", "--user", "grace", "--title", "Hello", "-b", "Your order is ready", "--badge", "0",
        "--sound", "default", "-p", '{"order": 7}',
    )  # fmt: skip
    assert ran.json == SENT
    assert asking.asked[-1].json == {
        "user_id": "grace",
        "alert": {"title": "Hello", "body": "Your order is ready"},
        "badge": 0,
        "sound": "default",
        "data": {"order": 7},
    }
    assert mushu("push", "send", "--user", "grace", "--silent").code == 0
    assert asking.asked[-1].json == {"user_id": "grace", "content_available": True}
    keys = {asked.headers["idempotency-key"] for asked in asking.asked}
    assert len(keys) == 2, "each is a notification of its own"


def test_a_notification_is_sent_once_however_often_the_answer_is_lost(
    mushu: Mushu, asking: Stub, tenant: str, impatient: None
) -> None:
    asking.tell("POST", "/tenants/tenant_1/notify", problem(503, "database_unavailable", "It rests."), Told(SENT))
    assert mushu("push", "send", "--user", "grace", "--title", "Hello").json == SENT
    assert len({asked.headers["idempotency-key"] for asked in asking.asked}) == 1


def test_one_that_reached_nobody_is_a_failure_with_the_reason(mushu: Mushu, asking: Stub, tenant: str) -> None:
    asking.tell("POST", "/tenants/tenant_1/notify", SENT | {"success": False, "error": "This user has no device."})
    ran = mushu("push", "send", "--user", "grace", "--title", "Hello")
    assert (ran.code, ran.json["success"]) == (1, False)
    assert ran.stderr == "Error: Nothing was sent. This user has no device.\n"


@pytest.mark.parametrize(("failed", "code", "said"), [(0, 0, ""), (1, 0, "1 of 2"), (2, 1, "Nobody could be reached.")])
def test_a_notification_to_many_fails_if_nobody_is_reached(
    mushu: Mushu, asking: Stub, tenant: str, failed: int, code: int, said: str
) -> None:
    answer = {"total": 2, "success": 2 - failed, "failed": failed, "message_id": "message_1"}
    asking.tell("POST", "/tenants/tenant_1/notify/bulk", answer)
    ran = mushu("push", "bulk", "--users", "grace, heidi,", "--title", "Hello")
    assert (ran.code, ran.json) == (code, answer)
    assert said in ran.stderr
    assert asking.asked[-1].json == {"user_ids": ["grace", "heidi"], "alert": {"title": "Hello"}}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["send", "--user", "grace"], "There is nothing to send"),
        (["send", "--user", "grace", "--silent", "--title", "Hello"], "--silent shows nothing"),
        (["send", "--user", "grace", "--payload", "[]"], "write a JSON object"),
        (["send", "--user", "grace", "--payload", "{"], "write a JSON object"),
        (["send", "--user", "grace", "--badge", "-1"], "-1 is not in the range"),
        (["bulk", "--users", " , ", "--title", "Hello"], "name one user at least"),
    ],
    ids=range(6),
)  # fmt: skip
def test_a_notification_of_nothing_or_to_nobody_is_a_usage_error(
    mushu: Mushu, asking: Stub, tenant: str, arguments: list[str], sentence: str
) -> None:
    mushu("push", *arguments).fails(sentence, code=2)
    assert asking.asked == []


def test_what_was_sent_is_listed_and_shown_from_all_pages(mushu: Mushu, asking: Stub, tenant: str) -> None:
    def sent(number: int, alert: object) -> dict[str, Any]:
        payload = {"aps": {"alert": alert}}
        about = {"outbox": False, "created_at": "2026-01-15T10:30:00Z", "payload": payload}
        return {"message_id": f"message_{number}"} | about

    path = "/tenants/tenant_1/notifications"
    first, second = sent(2, {"title": "Hello", "body": "Ready"}), sent(1, {"body": "Ready"})
    last: dict[str, Any] = {"notifications": [second], "next_cursor": None}
    asking.tell("GET", path, {"notifications": [first], "next_cursor": "more"}, last)
    listed = mushu("push", "list")
    assert [row[:2] for row in listed.rows] == [
        ["MESSAGE_ID", "TITLE"], ["message_2", "Hello"], ["message_1", "Ready"],
    ], listed.stderr  # fmt: skip
    assert asking.asked[-1].query["cursor"] == ["more"]
    asking.tell("GET", path, {"notifications": [sent(3, None)], "next_cursor": None})
    assert mushu("push", "list", "--outbox", "--json").json == [sent(3, None)]
    assert asking.asked[-1].query["outbox"] == ["true"]

    def sendings(*tokens: str, cursor: str | None) -> dict[str, Any]:
        return second | {"sendings": [{"token": token} for token in tokens], "next_cursor": cursor}

    asking.tell("GET", f"{path}/message_1", sendings("a", cursor=None))
    assert mushu("push", "show", "message_1").json == second | {"sendings": [{"token": "a"}]}
    once, again = sendings("a", cursor="more"), sendings("b", cursor=None)
    asking.tell("GET", f"{path}/message_1", once, once, again)
    assert mushu("push", "show", "message_1").json["sendings"] == [{"token": "a"}, {"token": "b"}]


def test_pages_that_lead_back_to_themselves_end(mushu: Mushu, asking: Stub, tenant: str) -> None:
    asking.tell("GET", "/tenants/tenant_1/notifications", {"notifications": [], "next_cursor": "more"})
    mushu("push", "list").fails("its pages do not end")
