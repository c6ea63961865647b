"""The example that is published for Python users, line for line."""

import asyncio
from typing import Any

import pytest

from tests.cli.stub import Stub, Told
from tests.sdk.conftest import LIVE, TEST, Environment

EXAMPLE = """\
import os
import mushu
from mushu.notify.api.push import send_notification
from mushu.notify.models import SendNotificationRequest, Alert

client = mushu.client("notify", api_key=os.environ["MUSHU_API_KEY"])

async def send_push(tenant_id: str, user_id: str, title: str, body: str):
    response = await send_notification.asyncio_detailed(
        tenant_id=tenant_id,
        client=client,
        body=SendNotificationRequest(
            user_id=user_id,
            alert=Alert(title=title, body=body),
        ),
    )
    return response.parsed
"""


def test_the_names_of_the_example_are_there() -> None:
    from inspect import signature

    from mushu.notify.api.push import send_bulk_notification, send_notification
    from mushu.notify.models import Alert, Problem, SendNotificationRequest

    for module in (send_notification, send_bulk_notification):
        for name in ("sync", "sync_detailed", "asyncio", "asyncio_detailed"):
            assert {"tenant_id", "client", "body"} <= set(signature(getattr(module, name)).parameters)
    assert {"title", "body"} <= set(signature(Alert).parameters)
    assert {"user_id", "alert"} <= set(signature(SendNotificationRequest).parameters)
    assert {"detail", "code"} <= set(signature(Problem).parameters)


@pytest.mark.parametrize(("key", "path"), [(LIVE, ""), (TEST, "/sandbox")], ids=["live", "test"])
def test_the_example_sends_as_it_stands(key: str, path: str, stub: Stub, environment: Environment) -> None:
    said = {"type": "t", "title": "No", "status": 404, "detail": "There is none.", "code": "tenant_not_found"}
    told = Told(said, 404, {"Content-Type": "application/problem+json"})
    stub.tell("POST", f"{path}/tenants/tenant_a/notify", told)
    environment(MUSHU_API_KEY=key, MUSHU_NOTIFY_URL=stub.url)
    names: dict[str, Any] = {}
    exec(compile(EXAMPLE, "example.py", "exec"), names)

    async def run() -> Any:
        async with names["client"]:
            return await names["send_push"]("tenant_a", "user_b", "Hello", "World")

    assert asyncio.run(run()).code == "tenant_not_found"
    (asked,) = stub.asked
    assert asked.headers["authorization"] == f"ApiKey {key}"
    assert {"user_id": "user_b", "alert": {"title": "Hello", "body": "World"}}.items() <= asked.json.items()
