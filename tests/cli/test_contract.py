"""The command lines and outputs of the product contract, against a real server; and the form of the outputs exactly."""

import re

from tests.cli.conftest import ORG, Mushu, Served
from tests.cli.stub import Stub

_CREATED = """\
{
  "key_id": "key_abc123",
  "key": "msk_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
  "name": "backend-server",
  "scopes": ["read", "write"],
  "created_at": "2026-01-15T10:30:00Z"
}
"""


def _key(key_id: str, name: str, scopes: list[str], created: str) -> dict[str, object]:
    return {"key_id": key_id, "name": name, "scopes": scopes, "created_at": f"{created}T10:30:00Z"}


BACKEND = _key("key_abc123", "backend-server", ["read", "write"], "2026-01-15")
ANALYTICS = _key("key_def456", "analytics", ["read"], "2026-01-10")
ADMIN_TOOL = _key("key_ghi789", "admin-tool", ["read", "write", "admin"], "2026-01-01")


def _tell_keys(stub: Stub, *keys: dict[str, object]) -> None:
    stub.tell("GET", f"/orgs/{ORG}/api-keys", {"api_keys": list(keys), "next_cursor": None})
    stub.tell("GET", f"/sandbox/orgs/{ORG}/api-keys", {"api_keys": [], "next_cursor": None})


def test_create_prints_the_contract_s_output_to_the_letter(mushu: Mushu, asking: Stub) -> None:
    answer = {"created_at": "2026-01-15T10:30:00Z", "key": "msk_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
    answer |= {"key_id": "key_abc123", "scopes": ["read", "write"], "name": "backend-server"}  # type: ignore[dict-item]
    asking.tell("POST", f"/orgs/{ORG}/api-keys", answer)
    ran = mushu("api-key", "create", "--name", "backend-server", "--org", ORG)
    assert (ran.code, ran.stdout, ran.stderr) == (0, _CREATED, "")


def test_list_prints_the_contract_s_table_to_the_letter_where_its_own_columns_are_aligned(
    mushu: Mushu, asking: Stub
) -> None:
    _tell_keys(asking, BACKEND, ANALYTICS)
    ran = mushu("api-key", "list", "--org", ORG)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout == (
        "KEY_ID       NAME              SCOPES        CREATED\n"
        "key_abc123   backend-server    read,write    2026-01-15\n"
        "key_def456   analytics         read          2026-01-10\n"
    )


def test_list_keeps_aligned_what_the_contract_s_third_row_pushes_out_of_line(mushu: Mushu, asking: Stub) -> None:
    _tell_keys(asking, BACKEND, ANALYTICS, ADMIN_TOOL)
    lines = mushu("api-key", "list", "--org", ORG).stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["KEY_ID", "NAME", "SCOPES", "CREATED"],
        ["key_abc123", "backend-server", "read,write", "2026-01-15"],
        ["key_def456", "analytics", "read", "2026-01-10"],
        ["key_ghi789", "admin-tool", "read,write,admin", "2026-01-01"],
    ]
    assert {line.rstrip().rindex(" ") for line in lines} == {48}


def test_every_command_line_of_the_contract_runs_against_a_server(served: Served, mushu: Mushu, acme: str) -> None:
    created = mushu("api-key", "create", "--name", "backend-server", "--org", acme).ok()
    assert list(created.json)[:5] == ["key_id", "key", "name", "scopes", "created_at"]
    assert re.fullmatch(r"msk_live_[0-9A-Za-z]{28}", created.json["key"])
    assert created.json["scopes"] == ["read", "write"]
    assert created.stdout.startswith('{\n  "key_id": "key_')

    analytics = mushu("api-key", "create", "--name", "analytics", "--org", acme, "--scopes", "read")
    assert analytics.json["scopes"] == ["read"]
    admin = mushu("api-key", "create", "--name", "admin-tool", "--org", acme, "--scopes", "read,write,admin")
    assert admin.json["scopes"] == ["read", "write", "admin"]

    listed = mushu("api-key", "list", "--org", acme)
    assert listed.rows[0] == ["KEY_ID", "NAME", "SCOPES", "CREATED"]
    assert sorted(row[1:] for row in listed.rows[1:]) == [
        ["admin-tool", "read,write,admin", "2026-01-15"],
        ["analytics", "read", "2026-01-15"],
        ["backend-server", "read,write", "2026-01-15"],
    ]
    key_id = created.json["key_id"]
    assert mushu("api-key", "delete", key_id, "--org", acme).json == {"key_id": key_id, "deleted": True}
    assert key_id not in mushu("api-key", "list", "--org", acme).stdout
