"""CVE-2026-115357: an answer went out when its audit record had failed. Here, nothing is changed without its event."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from mushu.server.audit import AuditEvent
from tests.server.web.asking import SeparateClient, all_rows
from tests.server.web.conftest import House
from tests.server.web.endpoints import CHANGING, Mounted, Stage

pytestmark = pytest.mark.unmeasured

#: They change nothing, or only what an organization's programs bring in great numbers: devices, notifications.
TELL_NOTHING = {
    "/orgs/{org}/api-keys/lookup",
    "/tenants/{tenant}",
    "/tenants/{tenant}/devices",
    "/tenants/{tenant}/devices/{device}",
    "/tenants/{tenant}/notify",
    "/tenants/{tenant}/notify/bulk",
}


def tells(mounted: Mounted) -> bool:
    endpoint = mounted.endpoint
    return endpoint.path not in TELL_NOTHING or (endpoint.path, endpoint.method) == ("/tenants/{tenant}", "DELETE")


@pytest.fixture
def client(house: House) -> SeparateClient:
    return house.client


class Failing:
    """An audit trail that takes nothing from now on."""

    def __init__(self) -> None:
        self.tried = 0

    def begin(self) -> None:
        event.listen(AuditEvent, "before_insert", self.refuse)

    def refuse(self, *_: object) -> None:
        self.tried += 1
        raise OSError("the audit trail cannot be written")


@pytest.fixture
def failing() -> Iterator[Failing]:
    found = Failing()
    yield found
    if event.contains(AuditEvent, "before_insert", found.refuse):
        event.remove(AuditEvent, "before_insert", found.refuse)


@pytest.mark.parametrize("mounted", [mounted for mounted in CHANGING if tells(mounted)], ids=str)
def test_nothing_is_changed_that_the_audit_trail_does_not_take(
    client: SeparateClient, stage: Stage, failing: Failing, mounted: Mounted
) -> None:
    stage.environment = mounted.environment
    headers, path = stage.headers, mounted.path.format_map(stage)
    body = mounted.endpoint.body(stage) if mounted.endpoint.body is not None else None
    before = all_rows()
    failing.begin()

    refused = client.open(path, method=mounted.endpoint.method, json=body, headers=headers)

    assert failing.tried == 1
    assert refused.status_code == 500, refused.get_data(as_text=True)
    assert all_rows() == before
