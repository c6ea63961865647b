"""Mistakes that others made at a gate, each tried on ours, under the id of its advisory.

What a proxy can get wrong is tried with real ones, too: `tests/e2e/test_protect_a_service.py`.
"""

import random
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from mushu.server.audit import SYSTEM
from mushu.server.client_address import address_header
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.keys import Scope
from mushu.server.usage import uses_of
from mushu.server.web.extensions import recorder_of
from tests.long import SEED, times
from tests.server.conftest import api_key, bearer, database_template
from tests.server.web.asking import all_rows
from tests.server.web.conftest import House, house

__all__ = ["database_template", "house"]

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "protect-a-service.md").read_text()
TOLD: Final = set(re.findall(r"^\| `(X-Mushu-[\w-]+)`", PAGE, re.MULTILINE))
EVIL: Final = "evil"
#: What proxies say of a request, and others believed.
FORWARDED: Final = [
    f"X-Forwarded-{name}" for name in ("For", "Host", "Method", "Port", "Prefix", "Proto", "Uri", "User", "Groups")
] + ["X-Original-Url", "X-Rewrite-Url", "X-Real-Ip", "X-Auth-Request-User", "X-Remote-User", "Forwarded"]
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "TRACE")


class Gate:
    """A gate with two policies, `reads` and `admins`, and a key that passes the first one."""

    def __init__(self, house: House) -> None:
        self.house, world = house, house.world
        self.org = world.org()
        self.key, self.text = world.key(self.org)
        self.good = api_key(self.text)
        with writing(db.session):
            for name, scope in (("reads", Scope.READ), ("admins", Scope.ADMIN)):
                wanted = PolicyRequest(
                    name=f"{name}-{self.org.id[4:]}", org_id=self.org.id, scope=scope, cli_tokens=True
                )
                add_policy(db.session, world.clock, SYSTEM, wanted)

    def ask(
        self, headers: dict[str, str], rest: str = "", *, policy: str = "reads", method: str = "GET", raw: bool = False
    ) -> TestResponse:
        path = f"/forward-auth/{policy}-{self.org.id[4:]}{rest}"
        overrides = {"PATH_INFO": path} if raw else {}
        return self.house.client.open("/" if raw else path, method=method, headers=headers, environ_overrides=overrides)

    def told(self, headers: dict[str, str], rest: str = "") -> dict[str, str]:
        answered = self.ask(headers, rest)
        assert answered.status_code == 200, answered.get_data(as_text=True)
        return {name: value for name, value in answered.headers if name != "X-Request-Id"}


@pytest.fixture(scope="module")
def gate(house: House) -> Gate:
    return Gate(house)


def spellings(name: str) -> Iterator[str]:
    """Spell a name with dashes, underscores and dots, in every mixture."""
    parts = name.split("-")
    for between in product("-_.", repeat=len(parts) - 1):
        yield "".join(part + sign for part, sign in zip(parts, (*between, ""), strict=True))


def test_cve_2026_39858_a_header_in_another_spelling_changes_nothing(gate: Gate) -> None:
    expected = gate.told(gate.good)
    for name in FORWARDED:
        for spelled in spellings(name):
            assert gate.told({spelled: EVIL} | gate.good) == gate.told(gate.good | {spelled: EVIL}) == expected
            assert gate.ask({spelled: gate.text}).status_code == 401


@pytest.mark.parametrize("spelled", list(spellings("X-Mushu-Org")))
def test_cve_2026_54763_and_cve_2026_88011_an_identity_from_outside_is_not_told(gate: Gate, spelled: str) -> None:
    assert gate.told({spelled: EVIL} | gate.good)["X-Mushu-Org"] == gate.org.id
    assert EVIL not in str(gate.ask({spelled: EVIL} | gate.good).headers)


def test_cve_2026_30851_an_answer_that_lets_pass_has_every_header_of_the_page(gate: Gate) -> None:
    world = gate.house.world
    assert len(TOLD) == 6
    for headers in (gate.good, bearer(world.token(world.owner_of(gate.org)))):
        told = gate.told(headers)
        assert {name for name in told if name.startswith("X-Mushu-")} == TOLD
        assert all(told[name] for name in TOLD)


def test_cve_2026_35051_no_prefix_of_a_proxy_is_believed(gate: Gate) -> None:
    for prefix in ("/health", "/forward-auth/admins", "//evil.example", "/.."):
        assert gate.told(gate.good | {"X-Forwarded-Prefix": prefix}) == gate.told(gate.good)
        assert gate.ask({"X-Forwarded-Prefix": prefix}).status_code == 401


def test_cve_2026_40575_no_path_of_a_proxy_skips_the_question(gate: Gate) -> None:
    for path in ("/health", "/static/app.css", "/login", "/ready?x=/health"):
        for name in ("X-Forwarded-Uri", "X-Original-Url", "X-Rewrite-Url", "X-Envoy-Original-Path"):
            assert gate.ask({name: path}).status_code == 401
            assert gate.ask({name: path} | gate.good, policy="admins").status_code == 403


def test_cve_2026_76835_by_default_nobody_is_trusted(gate: Gate) -> None:
    key, text = gate.house.world.key(gate.org)
    gate.told(api_key(text) | dict.fromkeys([*FORWARDED, "Mushuclientip"], "203.0.113.66"))
    recorder_of(gate.house.app).flush()
    with writing(db.session):
        assert uses_of(db.session, [key.id])[key.id].last_used_from == "127.0.0.1"


def test_cve_2026_34457_no_agent_path_or_method_passes_without_a_key(gate: Gate) -> None:
    for agent in ("GoogleHC/1.0", "kube-probe/1.29", "ELB-HealthChecker/2.0", "Envoy/HC"):
        for method in METHODS:
            for rest in ("", "/health", "/ping"):
                assert gate.ask({"User-Agent": agent}, rest, method=method).status_code == 401
                assert gate.ask(gate.good, rest, policy="admins", method=method).status_code == 403


def test_cve_2025_54576_no_path_with_a_query_is_on_a_list(gate: Gate) -> None:
    for rest in ("?/health", "/x?/static/", "/api?x=/health", "?next=/forward-auth/reads", "/health?", "/login%3f"):
        assert gate.ask({}, rest).status_code == 401
        assert gate.ask(gate.good, rest).status_code == 200


def test_cve_2026_33494_no_normal_form_of_a_path_leads_to_another_policy(gate: Gate) -> None:
    other = f"reads-{gate.org.id[4:]}"
    for rest in (f"/../{other}", f"/./../{other}", f"/x/../../{other}", "/..", f"/..//{other}"):
        assert gate.ask(gate.good, rest, policy="admins", raw=True).status_code == 403
    for rest in (f"/./{other}", f"//{other}", f"/%2e%2e/{other}", f"/..;/{other}", f"\\..\\{other}", f"/{other}"):
        assert gate.ask(gate.good, rest, policy="admins", raw=True).status_code == 403
        assert gate.ask({}, rest, policy="admins", raw=True).status_code in (401, 403)


def test_cve_2026_33496_and_cve_2021_32701_what_is_remembered_is_of_one_requirement(gate: Gate) -> None:
    _, admin = gate.house.world.key(gate.org, *Scope)
    for _ in range(20):
        assert [gate.ask(gate.good, policy=policy).status_code for policy in ("reads", "admins")] == [200, 403]
        assert [gate.ask(api_key(admin), policy=policy).status_code for policy in ("admins", "reads")] == [200, 200]


def test_cve_2021_32637_and_cve_2026_25748_nothing_malformed_is_a_success(gate: Gate) -> None:
    chance = random.Random(SEED)
    for _ in range(times(200, 20_000)):
        rubbish = "".join(chr(chance.randrange(1, 256)) for _ in range(chance.randrange(1, 40))).replace("\r", "\n")
        rubbish = rubbish.replace("\n", "%")
        name = chance.choice(["Cookie", "Authorization", "X-API-Key", "Content-Type", "Content-Length", "Host"])
        for headers in ({name: rubbish}, {"Cookie": f"mushu={rubbish}"}):
            assert gate.ask(headers, chance.choice(["", f"/{rubbish}"]), raw=True).status_code in (401, 403)
    with patch(
        "mushu.server.web.forward_auth.get_requirement", side_effect=UnicodeDecodeError("utf-8", b"", 0, 1, "x")
    ):
        assert gate.ask(gate.good, policy="admins").status_code == 503


def test_cve_2026_49468_a_hostile_host_changes_nothing(gate: Gate) -> None:
    for host in ("evil.example", "127.0.0.1/health?", "a/../health", "[::1", "x:99999", ""):
        assert gate.told(gate.good | {"Host": host}) == gate.told(gate.good)
        assert gate.ask({"Host": host}).status_code == 401


def test_cve_2026_42208_no_credential_is_a_statement(gate: Gate) -> None:
    chance, client, before = random.Random(SEED), gate.house.client, all_rows()
    pieces = [
        "'",
        '"',
        ";",
        "--",
        " OR 1=1",
        "/*",
        "*/",
        "\\",
        "%",
        "_",
        ")",
        "UNION SELECT ",
        "DROP TABLE users",
        "${7*7}",
    ]
    for turn in range(times(300, 100_000)):
        hostile = "".join(chance.choices(pieces, k=chance.randrange(1, 6)))
        text = hostile if turn % 2 else f"{gate.text}{hostile}"
        for headers in ({"X-API-Key": text}, {"Authorization": f"ApiKey {text}"}):
            assert gate.ask(headers).status_code == 401
        asked = {"key": text}
        (told,) = client.post("/api-keys/verify", json=asked, headers=gate.good).get_json()["results"]
        assert (told["valid"], told["state"]) == (False, "unknown")
        introspected = client.post("/oauth/introspect", data={"token": text}, headers=gate.good)
        assert introspected.get_json() == {"active": False}
    assert all_rows() == before


def test_cve_2026_92443_no_cache_may_keep_an_answer_or_take_it_for_another(gate: Gate) -> None:
    answers = [gate.ask(gate.good), gate.ask({}), gate.ask(gate.good, policy="admins")]
    with patch(
        "mushu.server.read_connections.ReadConnections.fetch", side_effect=OperationalError("x", {}, Exception("x"))
    ):
        answers.append(gate.ask({"X-API-Key": "x"}, policy="none"))
    assert [answered.status_code for answered in answers] == [200, 401, 403, 503]
    for answered in answers:
        assert answered.headers["Cache-Control"] == "no-store"
        assert answered.headers["Vary"] == "Authorization, X-API-Key"


def test_cve_2026_63439_every_configuration_has_the_service_where_only_the_proxy_reaches_it() -> None:
    blocks = re.findall(r"^```(nginx|caddyfile|haproxy|toml|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    services = [set(re.findall(r"[\w.]*[: ](?:port_value: )?9000", block)) for _, block in blocks]
    assert [found for found in services if found] == [{"127.0.0.1:9000"}] * 4 + [{" port_value: 9000"}]
    assert "address: 127.0.0.1, port_value: 9000" in PAGE


def test_cve_2015_0219_the_header_of_the_address_has_one_spelling() -> None:
    for name in ("X-Forwarded-For", "X_Client", "Client.Ip", "Forwarded"):
        assert address_header(name) is not None
    assert address_header("Mushuclientip") is None
