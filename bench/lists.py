"""How soon lists print and what they take, with ten rows and with very many.

    .venv/bin/python bench/lists.py [ROWS]

Each command runs in a process of its own; what is measured is its first line, its end, and the most memory it had.
`flask keys reconcile` has a tenth of the rows to settle, with several commits for each: of these keys, a third are
pending, a third dead and not cleaned up, and a third alive and deleted in the journal.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from mushu.environment import Environment
from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.clock import utc_now
from mushu.server.config import Settings
from mushu.server.core import core_context, db
from mushu.server.db import writing
from mushu.server.delivery.models import Delivery
from mushu.server.destinations import DestinationRow
from mushu.server.environments import within
from mushu.server.instance import JOURNAL_FILE
from mushu.server.keys.models import ApiKey
from mushu.server.operation.upgrading.migrations import migrate
from mushu.server.orgs.models import Membership, Organization, OrgInvitation
from mushu.server.orgs.service import create_org
from mushu.server.tokens.models import CliToken
from mushu.server.users.models import User
from mushu.server.users.service import create_user

LISTS = (
    "keys list --org acme",
    "keys list --org acme --json",
    "keys list --org acme --state disabled",
    "keys list --org acme --state pending",
    "keys list --org acme --name nobody",
    "keys check --org acme",
    "orgs list",
    "users list",
    "members list acme",
    "members invites acme",
    "tokens list ada@example.com",
    "destinations list --org acme",
    "audit list --org acme",
    "audit list --org acme --key key_000000000007",
    "audit list --org acme --action org.created",
)
RECONCILE = "keys reconcile"

TABLES = (Organization, User, Membership, OrgInvitation, CliToken, ApiKey, Delivery, AuditEvent)


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    with tempfile.TemporaryDirectory() as folder:
        few_path, many_path = Path(folder) / "few", Path(folder) / "many"
        fill(few_path, 10)
        fill(many_path, many)
        print(f"{'':54}{'first line, s':>20}{'last line, s':>16}{'memory, MB':>14}")
        print(f"{'':54}{10:>10}{many:>10}{many:>16}{many:>14}")
        for command in LISTS:
            compare(few_path, many_path, command)
        leave_unfinished(few_path, 10)
        leave_unfinished(many_path, many // 10)
        compare(few_path, many_path, RECONCILE)


def compare(few_path: Path, many_path: Path, command: str) -> None:
    few, full = run(few_path, command), run(many_path, command)
    print(f"flask {command:48}{few[0]:>10.2f}{full[0]:>10.2f}{full[1]:>16.1f}{full[2]:>14.0f}", flush=True)


def run(instance: Path, command: str) -> tuple[float, float, float]:
    """Return when the first line of the table's body came, or its end, when the last, and the memory at its largest."""
    environ = os.environ | {"MUSHU_INSTANCE_PATH": str(instance)}
    began = time.perf_counter()
    program = [sys.executable, "-c", "from mushu.server.main import main; main()", *command.split()]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        first = time.perf_counter() - began
        while process.stdout.read(1 << 20):
            pass
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 3) or command == RECONCILE, command
    return first, time.perf_counter() - began, used.ru_maxrss / 1024


def fill(instance: Path, many: int) -> None:
    """Make an organization that has many of everything."""
    settings = Settings(instance_path=instance)
    with core_context(lambda: settings):
        migrate()
        with writing(db.session):
            ada = create_user(db.session, utc_now, SYSTEM, "ada@example.com").id
            org = create_org(db.session, utc_now, SYSTEM, "acme", ada).id
        now = utc_now()
        for start in range(0, many, 10_000):
            numbers = range(start, min(start + 10_000, many))
            with within(db.session, Environment.LIVE), writing(db.session):
                for table in TABLES:
                    db.session.execute(insert(table), [row_of(table, number, org, ada, now) for number in numbers])
                db.session.add_all(
                    DestinationRow(**row_of(DestinationRow, number, org, ada, now)) for number in numbers
                )
            db.session.expunge_all()


def leave_unfinished(instance: Path, many: int) -> None:
    """Make work of all kinds for so many keys."""
    settings, third = Settings(instance_path=instance), many // 3
    first, second, end = (f"key_{third * number:012}" for number in (1, 2, 3))
    dead = first, second
    with core_context(lambda: settings), writing(db.session):
        for table, key_id, state in ((ApiKey, ApiKey.id, "stored_state"), (Delivery, Delivery.key_id, "state")):
            db.session.execute(update(table).where(key_id < first).values({state: "pending"}))
        db.session.execute(update(ApiKey).where(ApiKey.id.between(*dead)).values(stored_state="revoked"))
        db.session.execute(update(Delivery).where(Delivery.key_id.between(*dead)).values(cleanup_due=True))
        deleted = select(ApiKey.digest).where(ApiKey.id > second, ApiKey.id < end)
        with (instance / JOURNAL_FILE).open("a") as journal:
            journal.writelines(f"{digest}\n" for digest in db.session.scalars(deleted))


def row_of(table: type[Any], number: int, org: str, ada: str, now: Any) -> dict[str, Any]:
    at, later = now - timedelta(seconds=number), now + timedelta(hours=11)
    digest = sha256(f"{table.__name__} {number}".encode()).hexdigest()
    state = "disabled" if number % 2 else "active"
    rows: dict[type[Any], dict[str, Any]] = {
        Organization: {"id": f"org_{number:012}", "name": f"org {number}", "created_at": at, "created_by": ada},
        User: {"id": f"usr_{number:012}", "email": f"u{number}@example.com", "created_at": at, "tokens_valid_from": at},
        Membership: {"org_id": org, "user_id": f"usr_{number:012}", "role": "member", "joined_at": at},
        OrgInvitation: {
            "id": f"inv_{number:012}", "org_id": org, "invite_type": "link", "role": "member", "digest": digest,
            "stored_status": "pending", "invited_by": ada, "created_at": at, "expires_at": later,
        },
        CliToken: {"id": f"tok_{number:012}", "user_id": ada, "digest": digest, "issued_at": now, "expires_at": later},
        DestinationRow: {
            "id": f"dst_{number:012}", "org_id": org, "name": f"place-{number}", "uri": f"env:/nowhere/{number}#KEY",
            "created_at": at, "created_by": "user", "environment": "live",
        },
        ApiKey: {
            "id": f"key_{number:012}", "org_id": org, "name": f"key {number}", "digest": digest, "last_four": "abcd",
            "scope_names": "read,write", "environment": "live", "stored_state": state, "created_at": at,
        },
        Delivery: {
            "id": f"dlv_{number:012}", "key_id": f"key_{number:012}", "uri": f"env:/nowhere/{number}#KEY",
            "state": "verified", "attempt_id": "att", "expected_version": "0", "lease_until": at, "created_at": at,
        },
        AuditEvent: {
            "at": at, "actor_kind": "user", "actor_id": ada, "action": "key.created", "org_id": org,
            "target_id": f"key_{number:012}", "details": {"name": f"key {number}"},
        },
    }  # fmt: skip
    return rows[table]


if __name__ == "__main__":
    main()
