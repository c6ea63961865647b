"""What the templates make of a document: names, bodies, answers, secrets. The document is made up, its shape ours."""

import asyncio
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stub import Stub, Told
from tests.sdk.conftest import LIVE
from tests.sdk.generated import MAYBE, TEXT, document, imported, model, operation, reference

PUSH = document(
    {
        "/tenants/{tenant_id}/notify": {
            "post": operation("push", "send_notification", "SendNotificationRequest", "Sent")
        },
        "/tenants/{tenant_id}/notifications": {
            "get": operation(
                "push",
                "list_notifications",
                None,
                "Sent",
                parameters=[
                    {"name": "tenant_id", "in": "path", "required": True, "schema": TEXT},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 100}},
                    {"name": "Idempotency-Key", "in": "header", "schema": MAYBE},
                ],
            )
        },
    },
    {
        "SendNotificationRequest": model(
            {
                "user_id": TEXT,
                "alert": {"anyOf": [reference("Alert"), {"type": "null"}]},
                "data": {"anyOf": [{"type": "object", "additionalProperties": True}, {"type": "null"}]},
                "priority": {"type": "string", "enum": ["high", "normal"], "default": "high"},
            },
            ["user_id"],
            additionalProperties=False,
        ),
        "Alert": model({"title": TEXT, "body": TEXT}, ["title", "body"], additionalProperties=False),
        "Sent": model({"notification_id": TEXT, "token": TEXT, "push_token": MAYBE}, ["notification_id", "token"]),
    },
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = "made_of_push"
    with imported(PUSH, tmp_path_factory.mktemp("made"), name):
        yield name


def client(package: str, url: str) -> Any:
    return import_module(package).AuthenticatedClient(url, LIVE, "ApiKey")


def test_the_shape_of_the_published_example_works(made: str, stub: Stub) -> None:
    send_notification = import_module(f"{made}.api.push.send_notification")
    models = import_module(f"{made}.models")
    stub.tell("POST", "/tenants/tenant_a/notify", {"notification_id": "ntf_a", "token": "t", "news": 1})

    async def send() -> Any:
        async with client(made, stub.url) as opened:
            return await send_notification.asyncio_detailed(
                tenant_id="tenant_a",
                client=opened,
                body=models.SendNotificationRequest(user_id="u", alert=models.Alert(title="Hi", body="Ho")),
            )

    answer = asyncio.run(send())
    assert answer.parsed.notification_id == "ntf_a"
    assert answer.parsed.additional_properties == {"news": 1}, "an older SDK meets a newer server"
    (asked,) = stub.asked
    assert asked.json == {"user_id": "u", "alert": {"title": "Hi", "body": "Ho"}, "priority": "high"}
    assert asked.headers["authorization"] == f"ApiKey {LIVE}"


def test_a_refusal_is_a_problem(made: str, stub: Stub) -> None:
    send_notification = import_module(f"{made}.api.push.send_notification")
    models = import_module(f"{made}.models")
    said = {"type": "t", "title": "No", "status": 404, "detail": "There is none.", "code": "not_found"}
    stub.tell("POST", "/tenants/tenant_a/notify", Told(said, 404, {"Content-Type": "application/problem+json"}))
    with client(made, stub.url) as opened:
        problem = send_notification.sync("tenant_a", client=opened, body=models.SendNotificationRequest(user_id="u"))
    assert problem == models.Problem.from_dict(said)


def test_query_and_header_are_sent_where_they_are_given(made: str, stub: Stub) -> None:
    list_notifications = import_module(f"{made}.api.push.list_notifications")
    stub.tell("GET", "/tenants/tenant_a/notifications", {"notification_id": "ntf_a", "token": "t"})
    with client(made, stub.url) as opened:
        list_notifications.sync_detailed("tenant_a", client=opened)
        list_notifications.sync_detailed("tenant_a", client=opened, limit=3, idempotency_key="once")
        list_notifications.sync_detailed("tenant_a", client=opened, limit=3, idempotency_key=None)
    assert [asked.query for asked in stub.asked] == [{"limit": ["100"]}, {"limit": ["3"]}, {"limit": ["3"]}]
    assert [asked.headers.get("idempotency-key") for asked in stub.asked] == [None, "once", None]


def test_free_data_travels_as_it_is(made: str, stub: Stub) -> None:
    models = import_module(f"{made}.models")
    request = models.SendNotificationRequest.from_dict({"user_id": "u", "data": {"deep": {"er": [1, None]}}})
    assert request.to_dict()["data"] == {"deep": {"er": [1, None]}}


def test_what_opens_something_does_not_show_and_is_there(made: str) -> None:
    sent = import_module(f"{made}.models").Sent.from_dict({"notification_id": "n", "token": "abc", "push_token": "def"})
    assert (sent.token, sent.push_token) == ("abc", "def")
    assert repr(sent) == "Sent(notification_id='n', additional_properties={})"


def test_what_is_left_out_says_so() -> None:
    from mushu.core.types import UNSET

    assert repr(UNSET) == "UNSET"
    assert not UNSET


def test_a_document_that_the_generator_does_not_understand_is_an_error(tmp_path: Path) -> None:
    from subprocess import CalledProcessError

    broken = document({"/x": {"get": operation("push", "x", None, "Missing")}}, {})
    with pytest.raises(CalledProcessError), imported(broken, tmp_path, "broken"):
        pass
