"""What `served.py` asks, and the database that answers it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

from sqlalchemy import Table, insert, select

from bench.hot_path import organization
from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import digest_of
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, db
from mushu.server.keys.models import ApiKey
from mushu.server.operation.upgrading.migrations import migrate

BARE = "bare Flask view"
EMPTY = "empty WSGI application"
FORWARD_AUTH = "/forward-auth/{name}"
MANY = "mushu with many keys"
CREATION = "POST /orgs/{org_id}/api-keys"
_FORM = "application/x-www-form-urlencoded"
#: Keys that are used in turn; all others are only there.
IN_TURN = 1_000
#: Rows that one statement inserts.
_AT_ONCE = 2_000


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Args:
        server: of `bare.py`.
        requests: sent in turn.
        target: the least speed, as a ratio to the bare view.
    """

    name: str
    server: str
    requests: Sequence[bytes]
    target: float | None = None


@dataclass(frozen=True)
class World:
    """What is in the database: an organization with one tenant, one with twenty, and many keys of the first one."""

    one: str
    key: str
    twenty: str
    other_key: str
    keys: Sequence[str]

    @property
    def client(self) -> str:
        """The key that services ask about: not their own."""
        return self.keys[0]


def cases(world: World) -> list[Case]:
    """Return what is measured; a new endpoint is a new line here."""
    body = b'{"key": "%s"}' % world.client.encode()
    form = b"token=%s" % world.client.encode()
    org, twenty = f"/orgs/{world.one}", f"/orgs/{world.twenty}"
    return [
        Case(EMPTY, "empty", [request("/")]),
        Case("empty, reads a body", "empty-with-body", [request("/", world.key, body)]),
        Case(BARE, "bare", [request("/")]),
        Case(FORWARD_AUTH, "mushu", [request("/forward-auth/bench-1", world.key)], 3.0),
        Case(
            f"the same, {len(world.keys):,} keys in turn",
            "mushu",
            [request("/forward-auth/bench-1", key) for key in world.keys],
        ),
        Case("POST /api-keys/verify", "mushu", [request("/api-keys/verify", world.key, body)], 2.3),
        Case("POST /oauth/introspect", "mushu", [request("/oauth/introspect", world.key, form, _FORM)], 2.3),
        Case("/health", "mushu", [request("/health")], 0.9),
        Case("guarded, does nothing", "mushu", [request("/bench", world.key)], 0.9),
        Case(f"guarded, {len(world.keys):,} keys in turn", "mushu", [request("/bench", key) for key in world.keys]),
        Case("POST /api-keys/validate", "mushu", [request("/api-keys/validate", body=body)], 0.6),
        Case("/orgs/{org_id}", "mushu", [request(org, world.key)], 0.4),
        Case("/orgs/{org_id}/tenants, 1 row", "mushu", [request(f"{org}/tenants", world.key)], 0.4),
        Case("/orgs/{org_id}/tenants, 20 rows", "mushu", [request(f"{twenty}/tenants", world.other_key)], 0.25),
        Case(CREATION, "mushu", [request(f"{org}/api-keys", world.key, b'{"name": "bench"}')]),
    ]


def cases_of_many(world: World, count: int) -> list[Case]:
    """Return the same requests to a server with many keys."""
    body = b'{"key": "%s"}' % world.client.encode()
    return [
        Case(f"/forward-auth/{{name}}, {count:,} keys", MANY, [request("/forward-auth/bench-1", world.key)]),
        Case(
            f"the same, {len(world.keys):,} of them in turn",
            MANY,
            [request("/forward-auth/bench-1", key) for key in world.keys],
        ),
        Case(f"POST /api-keys/verify, {count:,} keys", MANY, [request("/api-keys/verify", world.key, body)]),
        Case(f"guarded, does nothing, {count:,} keys", MANY, [request("/bench", key) for key in world.keys]),
    ]


def request(path: str, key: str = "", body: bytes = b"", kind: str = "application/json") -> bytes:
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: localhost", "Accept: */*", "User-Agent: bench"]
    lines += [f"X-API-Key: {key}"] if key else []
    lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def make_world(settings: Settings, count: int) -> World:
    """Fill a new database, with so many keys."""
    core = Core(settings)
    with core_context(lambda: core.settings):
        migrate()
        one, key = organization(core, 1)
        twenty, other_key = organization(core, 20)
        table = cast(Table, ApiKey.__table__)
        secrets = [generate(Prefix.LIVE_KEY).reveal() for _ in range(min(count, IN_TURN))]
        digests = iter([*map(digest_of, secrets), *(f"{random.getrandbits(256):064x}" for _ in range(count - IN_TURN))])
        with db.engine.begin() as connection:
            row = connection.execute(select(table).where(table.c.digest == digest_of(key))).mappings().one()
            while rows := [{**row, "id": public_id("key"), "digest": digest} for digest in islice(digests, _AT_ONCE)]:
                connection.execute(insert(table), rows)
    return World(one, key, twenty, other_key, secrets)
