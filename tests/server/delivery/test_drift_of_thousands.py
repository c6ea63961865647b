"""Hundreds of keys in a Vault, looked at in one run: every one told right, in no more memory than a quarter of them."""

import gc
import itertools
import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import Session

from mushu.destination import Destination, Surroundings, digest_of
from mushu.keyformat import Prefix, generate
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.db import prepare_engine, reading, writing
from mushu.server.delivery import drift, ledger
from mushu.server.delivery.drift import DriftChecker, KeyFilter
from mushu.server.delivery.models import Delivery
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.service import create_org
from mushu.server.users.service import create_user
from mushu_vault import VaultDestination
from tests.conftest import TurnableClock
from tests.long import times
from tests.server.delivery.memory import peak
from tests.vault.bao import Address
from tests.vault.real import RealVault

pytestmark = pytest.mark.unmeasured

MANY: Final = times(300, 1_000)
#: What of every ten paths is found at the others is the key.
_FAULTS: Final = {3: "drifted", 5: "missing", 7: "denied"}
#: Bytes that a further key may take; where all stay in memory, each takes 4,300 to 6,000.
_BYTES_A_KEY: Final = 3_000


class Place:
    """A Vault with keys in it, and a database that says so."""

    def __init__(self, engine: Engine, clock: TurnableClock, vault: RealVault) -> None:
        self.engine = engine
        self.clock = clock
        self.vault = vault
        self.mount = f"mushu-{secrets.token_hex(4)}"
        vault.mount(self.mount)
        vault.policy("mushu-open", {f"{self.mount}/data/open/*": ["read"]})
        self.token = vault.token(["mushu-open"])
        self.numbers = itertools.count()
        self.session = Session(engine, autobegin=False, expire_on_commit=False)
        self.location = self.open("vault:secret/open/0#MUSHU_API_KEY").location().identity

    def org(self, keys: int) -> tuple[str, dict[str, str]]:
        """Return the id of an organization with so many keys, and by URI what is to be found there."""
        with writing(self.session):
            owner = create_user(self.session, self.clock, SYSTEM, f"u{next(self.numbers)}@example.com")
            org_id = create_org(self.session, self.clock, SYSTEM, "acme", owner.id).id
        found = [self._line(org_id, number) for number in range(keys)]
        with writing(self.session):
            self.session.execute(insert(ApiKey), [key for key, _, _ in found])
            self.session.execute(insert(Delivery), [delivery for _, delivery, _ in found])
        return org_id, {delivery["uri"]: condition for _, delivery, condition in found}

    def _line(self, org_id: str, number: int) -> tuple[dict[str, object], dict[str, str], str]:
        """Return the rows of one key and its delivery, and what is to be found where it should be."""
        condition, serial = _FAULTS.get(number % 10, "ok"), next(self.numbers)
        path = f"{'closed' if condition == 'denied' else 'open'}/{serial}"
        plaintext = generate(Prefix.LIVE_KEY).reveal()
        held = {"drifted": {"MUSHU_API_KEY": "theirs"}, "missing": {"OTHER": "x"}}
        self.vault.put(self.mount, path, held.get(condition, {"MUSHU_API_KEY": plaintext}))
        now = self.clock()
        key = {
            "id": f"key_{serial:012}",
            "org_id": org_id,
            "name": "backend",
            "digest": digest_of(plaintext),
            "last_four": plaintext[-4:],
            "scope_names": "read",
            "environment": "live",
            "stored_state": "active",
            "created_at": now,
        }
        delivery = {
            "id": f"dlv_{serial:012}",
            "key_id": key["id"],
            "uri": f"vault:{self.mount}/{path}#MUSHU_API_KEY",
            "state": "verified",
            "attempt_id": f"att_{serial:012}",
            "expected_version": "0",
            "lease_until": now,
            "created_at": now,
            "verified_at": now,
            "cleanup_due": False,
            "on_client": False,
            "location": self.location,
        }
        return key, delivery, condition  # type: ignore[return-value]

    def open(self, uri: str) -> Destination:
        settings = {"addr": self.vault.address, "token": self.token}
        found = VaultDestination.parse(uri, Surroundings(Path("/"), settings))
        assert found is not None
        return found

    def check(self, org_id: str) -> Iterator[tuple[str, str]]:
        for look in DriftChecker(self.session, self.clock, self.open).check(KeyFilter(org_id=org_id)):
            yield look.uri, str(look.condition)


@pytest.fixture
def place(settings: Settings, clock: TurnableClock, openbao: Address) -> Iterator[Place]:
    engine = create_engine(settings.sqlalchemy_url)
    prepare_engine(engine)
    with closing(RealVault(openbao)) as vault:
        yield Place(engine, clock, vault)
    engine.dispose()


def test_many_keys_are_checked_in_one_run_and_every_condition_is_right(place: Place) -> None:
    org_id, expected = place.org(MANY)
    place.clock.turn(hours=1)
    found = list(place.check(org_id))
    assert len(found) == MANY
    assert dict(found) == expected
    assert set(expected.values()) == {"ok", "drifted", "missing", "denied"}
    with reading(place.session):
        rows = ledger.list_deliveries(place.session, [f"key_{serial:012}" for serial in range(MANY + 1)])
        noted = {row.uri: row.condition for row in rows}
    assert noted == expected
    assert {row.checked_at for row in rows} == {place.clock()}
    assert timedelta(hours=1) == place.clock() - rows[0].created_at


def test_four_times_as_many_take_no_more_memory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "_PAGE", times(50, drift._PAGE))
    fourth = drift._PAGE + 20  # more than one page, or this measures nothing
    few, many = place.org(fourth)[0], place.org(4 * fourth)[0]

    def check(org_id: str, count: int) -> None:
        found = 0
        for found, _ in enumerate(place.check(org_id), 1):
            if found % 50 == 0:
                gc.collect()  # or it would be luck whether garbage of one page lies there beside that of all others
        assert found == count

    check(few, fourth)  # what is loaded once is loaded now
    for_few = peak(lambda: check(few, fourth))
    place.session.expunge_all()
    for_many = peak(lambda: check(many, 4 * fourth))
    said = f"{for_few} bytes for {fourth} keys, {for_many} for {4 * fourth}"
    assert for_many - for_few < _BYTES_A_KEY * 3 * fourth, said
