"""No request and no verb reads a table that grows from its start: there is an index for what each statement asks."""

from pathlib import Path
from typing import Final

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db, get_core
from mushu.server.delivery.drift import DriftChecker, KeyFilter
from mushu.server.delivery.named_destinations import settings_for
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.rotation import Terms
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.maintain import keep_house
from tests.server.conftest import bearer
from tests.server.statements import statements
from tests.server.verbs import issue_to, succeed
from tests.server.web.conftest import House
from tests.server.web.endpoints import LIVE, MOUNTED, Stage

pytestmark = [pytest.mark.sqlite, pytest.mark.fault]

#: Indexes that hold only what is under way, is to be done, or has settings of its own.
OF_WORK: Final = {
    "ix_api_keys_pending",
    "ix_deliveries_cleanup_due",
    "ix_destinations_uri_removed_at",
    "ix_rotations_open",
    "uq_deliveries_under_way",
}
_NO_TABLE: Final = ("SCAN CONSTANT ROW", "SCAN (subquery")


def test_no_request_reads_a_table_from_its_start(house: House) -> None:
    found: dict[str, str] = {}
    for mounted in (mounted for mounted in MOUNTED if mounted.environment is LIVE):
        stage = Stage(house.world, LIVE)
        stage.caller = stage.owner
        headers = bearer(house.world.token(stage.owner))
        with statements(db.engine) as asked:
            mounted.call(house.client, stage, headers)
        found |= {scan: str(mounted) for scan in scans_of(asked)}
    assert found == {}


def test_no_verb_reads_a_table_from_its_start(house: House, tmp_path: Path) -> None:
    context, org = context_for(SYSTEM), house.world.org()
    with statements(db.engine) as asked:
        key, _ = issue_to(context, KeyRequest(org_id=org.id, name="k"), [f"env:{tmp_path}/.env#KEY"])
        successor, _ = succeed(context, key.id, Terms())
        list(DriftChecker(db.session, house.clock, get_core().open_destination).check(KeyFilter(org_id=org.id)))
        settings_for(db.session, get_core().sealing_keys, f"env:{tmp_path}/.env#KEY")
        keep_house(context)
        delete(context, successor.id)
    assert len(set(asked)) > 30
    assert scans_of(asked) == set()


def scans_of(asked: list[str]) -> set[str]:
    """Return what SQLite reads from its start for these statements, but for a page that begins there."""
    found = set()
    with db.engine.connect() as connection:
        for statement in {one for one in asked if one.startswith(("SELECT", "UPDATE", "DELETE", "WITH"))}:
            values = (None,) * statement.count("?")
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
            found |= {
                f"{line}: {statement}" for line in plan if line.startswith("SCAN ") and not _is_fine(line, statement)
            }
    return found


def _is_fine(line: str, statement: str) -> bool:
    _, _, index = line.partition(" USING INDEX ")
    return index in OF_WORK or (bool(index) and " LIMIT " in statement) or line.startswith(_NO_TABLE)
