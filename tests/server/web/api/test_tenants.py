"""Tenants over HTTP."""

import logging
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from sqlalchemy import text

from mushu.environment import Environment
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.environments import within
from mushu.server.keys import Scope
from mushu.server.resources.apple_credentials import load_key
from mushu.server.resources.tenants import credentials_of, get_tenant
from tests.server.conftest import api_key
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

_PRIVATE_KEY: Final = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any = _PRIVATE_KEY, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return content.decode()


APNS: Final = {"team_id": "ABCDE12345", "key_id": "KEY1234567", "private_key": pem()}
_NONE: Final = {"team_id": None, "key_id": None, "private_key": None}


def create(house: House, stage: Stage, prefix: str = "", **more: object) -> dict[str, Any]:
    body = {"org_id": stage.org, "bundle_id": "com.example.shop"} | more
    return answer(house.client.post(f"{prefix}/tenants", json=body, headers=stage.headers))


class TestCreate:
    def test_it_works(self, house: House, stage: Stage) -> None:
        created = create(house, stage, **APNS, use_sandbox=True)
        assert created == {
            "tenant_id": created["tenant_id"],
            "org_id": stage.org,
            "bundle_id": "com.example.shop",
            "team_id": "ABCDE12345",
            "key_id": "KEY1234567",
            "use_sandbox": True,
            "environment": "live",
            "created_at": created["created_at"],
        }
        assert created["tenant_id"].startswith("tenant_")
        path = f"/tenants/{created['tenant_id']}"
        assert answer(house.client.get(path, headers=stage.headers)) == created

    def test_an_api_key_need_not_name_its_organization_and_a_user_must(self, house: House, stage: Stage) -> None:
        _, key = house.world.key(stage.organization, Scope.ADMIN)
        body = {"bundle_id": "com.example.shop"}
        made = answer(house.client.post("/tenants", json=body, headers=api_key(key)))
        assert (made["org_id"], made["team_id"], made["key_id"], made["use_sandbox"]) == (stage.org, None, None, False)
        response = house.client.post("/tenants", json=body, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "org_id"

    def test_an_organization_that_is_named_twice_is_refused(self, house: House, stage: Stage) -> None:
        other = house.world.org()
        body = f'{{"org_id": "{other.id}", "org_id": "{stage.org}", "bundle_id": "com.example.shop"}}'
        response = house.client.post("/tenants", data=body, content_type="application/json", headers=stage.headers)
        assert "A field stands twice" in refusal(response, 400, "bad_request")["detail"]

    @pytest.mark.parametrize(
        "bundle_id",
        ["", "shop", "com..shop", ".com.shop", "com.shop.", "com.exa mple", "com.example\r\nx: y", "com.exämple",
         "a." * 90],
    )  # fmt: skip
    def test_a_bundle_id_that_could_be_no_header_is_refused(self, house: House, stage: Stage, bundle_id: str) -> None:
        body = {"org_id": stage.org, "bundle_id": bundle_id}
        response = house.client.post("/tenants", json=body, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "bundle_id"

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"team_id": None}, "private_key"),
            ({"key_id": ""}, "private_key"),
            ({"private_key": None}, "private_key"),
            ({"team_id": "abcde12345"}, "team_id"),
            ({"key_id": "KEY12345678"}, "key_id"),
            ({"key_id": "../../etc/"}, "key_id"),
            ({"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "private_key"),
            ({"private_key": pem(ec.generate_private_key(ec.SECP384R1()))}, "private_key"),
            ({"private_key": pem(rsa.generate_private_key(65537, 2048))}, "private_key"),
            ({"private_key": pem(ed25519.Ed25519PrivateKey.generate())}, "private_key"),
            ({"private_key": pem(password=b"secret")}, "private_key"),
            ({"private_key": pem() + "\n" * 5_000}, "private_key"),
        ],
    )
    def test_credentials_that_apple_would_not_take_are_refused_and_not_repeated(
        self, house: House, stage: Stage, change: dict[str, object], field: str
    ) -> None:
        body = {"org_id": stage.org, "bundle_id": "com.example.shop"} | APNS | change
        response = house.client.post("/tenants", json=body, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == field
        assert "BEGIN" not in response.get_data(as_text=True)
        assert answer(house.client.get(f"/orgs/{stage.org}/tenants", headers=stage.headers))["tenants"] == []

    def test_the_private_key_lies_nowhere_in_clear(
        self, house: House, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        tenant_id = create(house, stage, **APNS)["tenant_id"]
        secret = pem().splitlines()[1]
        assert secret not in str(all_rows()) + caplog.text
        with within(db.session, Environment.LIVE), reading(db.session):
            tenant = get_tenant(db.session, tenant_id)
            found = credentials_of(tenant, house.world.core.sealing_keys)
        assert found is not None
        assert load_key(found.private_key).private_numbers() == _PRIVATE_KEY.private_numbers()
        assert secret not in repr(found)

    def test_the_same_idempotency_key_makes_one(self, house: House, stage: Stage) -> None:
        body = {"org_id": stage.org, "bundle_id": "com.example.shop"} | APNS
        headers = stage.headers | {"Idempotency-Key": "one"}
        made = [answer(house.client.post("/tenants", json=body, headers=headers)) for _ in range(2)]
        assert made[0] == made[1]
        other = house.client.post("/tenants", json=body | {"bundle_id": "com.example.other"}, headers=headers)
        refusal(other, 422, "idempotency_mismatch")
        in_test = answer(house.client.post("/sandbox/tenants", json=body, headers=headers))
        assert in_test["tenant_id"] != made[0]["tenant_id"]

    def test_in_test_it_is_always_apples_sandbox(self, house: House, stage: Stage) -> None:
        created = create(house, stage, "/sandbox", **APNS, use_sandbox=False)
        assert (created["environment"], created["use_sandbox"]) == ("test", True)
        changed = house.client.patch(
            f"/sandbox/tenants/{created['tenant_id']}", json={"use_sandbox": False}, headers=stage.headers
        )
        assert answer(changed)["use_sandbox"] is True


class TestList:
    def test_it_works(self, house: House, stage: Stage) -> None:
        ids = []
        for _ in range(5):
            ids.append(create(house, stage)["tenant_id"])
            house.clock.turn(seconds=1)
        create(house, stage, "/sandbox")
        create(house, Stage(house.world))
        for path in (f"/orgs/{stage.org}/tenants?", f"/tenants?org_id={stage.org}&"):
            found, cursor = [], ""
            while True:
                listed = answer(house.client.get(f"{path}limit=2{cursor}", headers=stage.headers))
                found += [tenant["tenant_id"] for tenant in listed["tenants"]]
                if listed["next_cursor"] is None:
                    break
                cursor = f"&cursor={listed['next_cursor']}"
            assert found == ids[::-1]

    def test_a_key_sees_those_of_its_organization(self, house: House, stage: Stage) -> None:
        _, key = house.world.key(stage.organization, Scope.READ)
        tenant_id = create(house, stage)["tenant_id"]
        listed = answer(house.client.get("/tenants", headers=api_key(key)))
        assert [tenant["tenant_id"] for tenant in listed["tenants"]] == [tenant_id]


def test_credentials_are_replaced_and_taken_away_only_together(house: House, stage: Stage) -> None:
    path = f"/tenants/{create(house, stage, **APNS)['tenant_id']}"
    refusal(house.client.patch(path, json={"key_id": "OTHER67890"}, headers=stage.headers), 422, "invalid_input")
    assert answer(house.client.get(path, headers=stage.headers))["key_id"] == "KEY1234567"
    other = APNS | {"key_id": "OTHER67890"}
    changed = answer(house.client.patch(path, json=other, headers=stage.headers))
    assert (changed["key_id"], changed["use_sandbox"]) == ("OTHER67890", False)
    assert answer(house.client.patch(path, json=_NONE, headers=stage.headers))["key_id"] is None


class TestDelete:
    def test_it_works(self, house: House, stage: Stage) -> None:
        tenant_id = create(house, stage, **APNS)["tenant_id"]
        device = {"user_id": "ada", "token": "a" * 64}
        answer(house.client.post(f"/tenants/{tenant_id}/devices", json=device, headers=stage.headers))
        assert answer(house.client.delete(f"/tenants/{tenant_id}", headers=stage.headers)) == {"deleted": True}
        refusal(house.client.get(f"/tenants/{tenant_id}", headers=stage.headers), 404, "tenant_not_found")
        with db.engine.connect() as connection:
            query = text("SELECT sealed_private_key, deleted_at FROM tenants WHERE id = :id")
            row = connection.execute(query, {"id": tenant_id}).one()
            count = text("SELECT count(*) FROM devices WHERE tenant_id = :id")
            left = connection.scalar(count, {"id": tenant_id})
        assert row[0] is None
        assert row[1] is not None
        assert left == 0

    def test_it_goes_with_its_organization_in_both_environments(self, house: House) -> None:
        stage = Stage(house.world)
        ids = {create(house, stage, prefix, **APNS)["tenant_id"] for prefix in ("", "/sandbox")}
        assert house.client.delete(f"/orgs/{stage.org}", headers=stage.headers).status_code == 200
        with db.engine.connect() as connection:
            query = text("SELECT id, deleted_at, sealed_private_key FROM tenants WHERE org_id = :org")
            rows = connection.execute(query, {"org": stage.org}).all()
        assert {row[0] for row in rows} == ids
        assert all(row[1] is not None and row[2] is None for row in rows)


def test_a_key_made_for_a_tenant_is_one_of_its_organization(house: House, stage: Stage) -> None:
    for prefix, form in (("", "msk_live_"), ("/sandbox", "msk_test_")):
        tenant_id = create(house, stage, prefix)["tenant_id"]
        path = f"{prefix}/tenants/{tenant_id}"
        made = answer(house.client.post(f"{path}/api-keys", json={"name": "push"}, headers=stage.headers))
        assert made["key"].startswith(form)
        assert answer(house.client.get(path, headers=api_key(made["key"])))["org_id"] == stage.org


def test_a_tenant_whose_key_cannot_be_sealed_is_not_created(house: House, stage: Stage) -> None:
    create(house, stage, **APNS)  # something is sealed from now on
    keys = house.world.core.settings.sealing_keys_path
    content = keys.read_text()
    keys.unlink()
    try:
        body = {"org_id": stage.org, "bundle_id": "com.example.lost"} | APNS
        refusal(house.client.post("/tenants", json=body, headers=stage.headers), 500, "sealing_failed")
    finally:
        keys.touch(0o600)
        keys.write_text(content)
    assert "com.example.lost" not in str(all_rows())
