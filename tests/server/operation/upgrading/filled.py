"""A database as it was filled at revision 0005: `filled_at_0005.sql`, and what its digests and sealed values are of.

Nothing here is real: every plaintext follows from a seed, so the file holds none. The many keys are made here, by the
same rule each time, so that the file stays small. Columns are named as 0005 had them; never change them.
"""

import base64
import hashlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from mushu.keyformat import ALPHABET, RANDOM_LENGTH, Prefix, checksum
from tests.long import times

REVISION: Final = "0005"
SQL: Final = Path(__file__).with_name("filled_at_0005.sql")
_SEED: Final = "filled at 0005"
#: Stands in the file for the folder in which the test has its `.env` files.
_FOLDER: Final = "@FOLDER@"
MANY: Final = times(1_000, 10_000)
STATES: Final = ("active", "disabled", "retiring", "revoked", "failed", "pending", "expired", "over")
_SCOPES: Final = ("read", "write", "admin", "read,write", "read,admin", "write,admin", "read,write,admin")
_ENVIRONMENTS: Final = ("live", "test")


def plaintext(prefix: Prefix, of: str) -> str:
    """Return the credential of the row with the id `of`."""
    number = int.from_bytes(hashlib.sha512(f"{_SEED} {of}".encode()).digest())
    head = prefix + "".join(ALPHABET[(number >> (6 * place)) % len(ALPHABET)] for place in range(RANDOM_LENGTH))
    return head + checksum(head)


def key_of(key_id: str, environment: str) -> str:
    return plaintext(Prefix.LIVE_KEY if environment == "live" else Prefix.TEST_KEY, key_id)


def digest(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()


def sealing_keys() -> str:
    """Return the file of the keys with which the values in `filled_at_0005.sql` are sealed."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{_SEED} sealing".encode()).digest()).decode() + "\n"


@dataclass(frozen=True, slots=True)
class ManyKey:
    """One of the many."""

    id: str
    #: One of `STATES`: `expired` and `over` are active and retiring keys whose time is over.
    condition: str
    scopes: str
    environment: str

    @property
    def key(self) -> str:
        return key_of(self.id, self.environment)


def many_keys() -> list[ManyKey]:
    """Return the many: every state with every set of scopes in both environments, again and again."""
    kinds = list(product(STATES, _SCOPES, _ENVIRONMENTS))
    return [ManyKey(f"key_many{number:05}", *kinds[number % len(kinds)]) for number in range(MANY)]


def load(connection: Connection, folder: Path) -> None:
    """Fill an empty database of revision 0005.

    Args:
        folder: where the `.env` files are that its deliveries speak of.
    """
    percent = "%%" if connection.dialect.name == "postgresql" else "%"  # psycopg's placeholders begin with it
    for line in SQL.read_text("utf-8").splitlines():
        if line.startswith("INSERT"):
            connection.exec_driver_sql(line.replace(_FOLDER, str(folder)).replace("%", percent))
    connection.execute(_MANY, [_row(key) for key in many_keys()])
    if connection.dialect.name == "postgresql":  # ids that were given do not move a sequence on
        for table in ("audit_events", "sendings"):
            of = f"pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table})"
            connection.execute(text(f"SELECT setval({of})"))


_MANY: Final = text(
    "INSERT INTO api_keys (id, org_id, name, digest, last_four, scopes, environment, state, created_at, expires_at, "
    "confirm_by, retires_at) VALUES (:id, 'org_aaaaaaaaaaaa', 'one of many', :digest, :last_four, :scopes, "
    ":environment, :state, '2026-01-02 00:00:00.000000', :expires_at, :confirm_by, :retires_at)"
)


def _row(key: ManyKey) -> dict[str, str | None]:
    state = {"expired": "active", "over": "retiring"}.get(key.condition, key.condition)
    past, future = "2026-01-10 00:00:00.000000", "2027-01-10 00:00:00.000000"
    credential = key.key
    return {
        "id": key.id,
        "digest": digest(credential),
        "last_four": credential[-4:],
        "scopes": key.scopes,
        "environment": key.environment,
        "state": state,
        "expires_at": past if key.condition == "expired" else None,
        "confirm_by": future if state == "pending" else None,
        "retires_at": past if key.condition == "over" else None,
    }
