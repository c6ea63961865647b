"""What a request costs, in CPU microseconds of one process and as a ratio to a bare Flask view in the same run.

    .venv/bin/python -m bench.hot_path [--rounds N] [--database URL] [--profile NAME]

The whole application is called as Granian calls it, with usage and log as shipped. Each round asks in a new
order, so that a slow moment of the machine hits all alike. A ratio is the median of those within a round.
"""

import argparse
import cProfile
import gc
import io
import pstats
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, session
from werkzeug import Response as BaseResponse

from bench.bare import bare, empty
from bench.guarded import mushu
from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.clock import utc_now
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, db
from mushu.server.db import writing
from mushu.server.delivery.activation import activate
from mushu.server.environments import set_environment
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.keys import Scope
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.operation.listeners import Listeners
from mushu.server.operation.requests import Requests, answer
from mushu.server.operation.thread_pool import Task
from mushu.server.operation.upgrading.migrations import migrate
from mushu.server.orgs.members import list_members
from mushu.server.orgs.service import create_org
from mushu.server.paging import Window
from mushu.server.rate_limits import parse_limits
from mushu.server.resources.tenants import TenantRequest, create_tenant
from mushu.server.users.service import create_user, get_user
from mushu.server.web.extensions import recorder_of
from mushu.server.web.sessions import begin_session, look_up_session

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BARE = "bare Flask view"
#: Requests of one kind in one round.
BATCH = 200

Ask = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="times that each request is measured (15)")
    parser.add_argument(
        "--database", default="", help="an empty PostgreSQL database, as in MUSHU_DATABASE_URL (SQLite)"
    )
    parser.add_argument("--profile", metavar="NAME", help="say where the time of one of the requests goes, instead")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = str(Path(folder) / "access.log")
        core = Core(Settings(instance_path=Path(folder) / "instance", access_log_file=log, database_url=given.database))
        with core_context(lambda: core.settings):
            migrate()
        requests = {BARE: asking(bare(), "/")} | of_mushu(core)
        for ask in requests.values():
            cost(ask)
        gc.freeze()  # as a worker of the server does when it begins
        if given.profile:
            profile(requests[given.profile])
            return
        costs: dict[str, list[float]] = {name: [] for name in requests}
        for _ in range(given.rounds):
            for name in random.sample(list(requests), len(requests)):
                costs[name].append(cost(requests[name]))
    print(f"{f'median of {given.rounds} rounds':28} {'CPU us':>8} {'x bare':>8} {'speed':>8}")
    for name, taken in costs.items():
        ratio = statistics.median(own / floor for own, floor in zip(taken, costs[BARE], strict=True))
        print(f"{name:28} {statistics.median(taken) * 1e6:8.1f} {ratio:8.2f} {1 / ratio:8.3f}")


def profile(ask: Ask) -> None:
    """Print what takes the most time itself, in this thread; the profiler makes short functions look slower."""
    profiler = cProfile.Profile()
    with profiler:
        for _ in range(BATCH * 10):
            ask()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def cost(ask: Ask) -> float:
    """Return the CPU seconds of all threads that one request takes."""
    before = time.process_time()
    for _ in range(BATCH):
        ask()
    return (time.process_time() - before) / BATCH


def of_mushu(core: Core) -> dict[str, Ask]:
    """Return the requests to measure, of an application with two organizations: one tenant, and twenty."""
    app, unlogged = (mushu(replace(core, settings=replace(core.settings, access_log=log))) for log in ("all", "off"))
    with app.app_context():
        one, key = organization(core, 1)
        twenty, other = organization(core, 20)
        # The second counts in two windows, both of which are too large to fill.
        client, limited = key_of_client(one), key_of_client(one, "1000000000/minute", "1000000000/total")
        cookie = page_of_keys(app, one)
        db.session.remove()
    body = b'{"key": "%s"}' % client.encode()
    form = b"token=%s&token_type_hint=access_token" % client.encode()
    return {
        "empty WSGI application": asking(empty(), "/"),
        "/forward-auth/{name}": asking(app, "/forward-auth/bench-1", key),
        "the same, a key with limits": asking(app, "/forward-auth/bench-1", limited),
        "POST /api-keys/verify": asking(app, "/api-keys/verify", key, body),
        "POST /oauth/introspect": asking(app, "/oauth/introspect", key, form, "application/x-www-form-urlencoded"),
        "/health": asking(app, "/health"),
        "POST /api-keys/validate": asking(app, "/api-keys/validate", body=body),
        "guarded, does nothing": asking(app, "/bench", key),
        "the same, not logged": asking(unlogged, "/bench", key),
        "/orgs/{org_id}": asking(app, f"/orgs/{one}", key),
        "/orgs/{org_id}/tenants, 1": asking(app, f"/orgs/{one}/tenants", key),
        "/orgs/{org_id}/tenants, 20": asking(app, f"/orgs/{twenty}/tenants", other),
        "a page of 50 keys": asking(app, f"/dashboard/{one}/keys", cookie=cookie),
    }


def organization(core: Core, tenants: int) -> tuple[str, str]:
    """Return the id and a key of a new organization with so many tenants, and a policy `bench-` and their number."""
    set_environment(db.session, Environment.LIVE)
    with writing(db.session):
        owner = create_user(db.session, utc_now, SYSTEM, f"ada{tenants}@example.com")
        org_id = create_org(db.session, utc_now, SYSTEM, f"acme {tenants}", owner.id).id
        key, secret = mint_key(db.session, utc_now, SYSTEM, KeyRequest(org_id=org_id, name="k", scopes=tuple(Scope)))
        activate(db.session, utc_now, SYSTEM, key.id)
        wanted = PolicyRequest(name=f"bench-{tenants}", org_id=org_id, scope=Scope.READ)
        add_policy(db.session, utc_now, SYSTEM, wanted)
        for number in range(tenants):
            request = TenantRequest(org_id=org_id, bundle_id=f"com.example.n{number}")
            create_tenant(db.session, utc_now, SYSTEM, core.sealing_keys, request)
    return org_id, secret.reveal()


class Protocol:
    """What Granian sends answers with; this one keeps the last."""

    status = 0
    content = b""

    def response_bytes(self, status: int, _: list[tuple[str, str]], content: bytes) -> None:
        self.status, self.content = status, content

    def response_iter(self, status: int, _: list[tuple[str, str]], content: Any) -> None:
        self.status, self.content = status, b"".join(iter(content.__next__, None))
        content.close()


def key_of_client(org_id: str, *limits: str) -> str:
    """Return a new key of an organization."""
    set_environment(db.session, Environment.LIVE)
    with writing(db.session):
        request = KeyRequest(org_id=org_id, name="client", limits=parse_limits(limits))
        key, secret = mint_key(db.session, utc_now, SYSTEM, request)
        activate(db.session, utc_now, SYSTEM, key.id)
    return secret.reveal()


def page_of_keys(app: Flask, org_id: str) -> str:
    """Fill a page of the dashboard with 50 keys, each of them used; return the cookie of who looked at it before."""
    with app.test_request_context(headers={"Cookie": "begun=yes"}):
        set_environment(db.session, Environment.LIVE)
        look_up_session()
        with writing(db.session):
            for number in range(50):
                key, _ = mint_key(db.session, utc_now, SYSTEM, KeyRequest(org_id=org_id, name=f"backend {number}"))
                activate(db.session, utc_now, SYSTEM, key.id)
                recorder_of(app).saw(key.id, utc_now(), "203.0.113.7")
            owner = list_members(db.session, org_id, Window(1)).rows[0].user_id
            begin_session(get_user(db.session, owner))
        recorder_of(app).flush()
        answer = app.make_response("")
        app.session_interface.save_session(app, session, answer)
    browser = app.test_client(use_cookies=False)
    first = browser.get(f"/dashboard/{org_id}/keys", headers={"Cookie": cookie_of(answer)})
    return cookie_of(first)


def cookie_of(answer: BaseResponse) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def asking(
    app: "WSGIApplication",
    path: str,
    key: str = "",
    body: bytes = b"",
    kind: str = "application/json",
    cookie: str = "",
) -> Ask:
    """Return what asks for this once; it fails where the answer is not 200."""
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "REQUEST_METHOD": "POST" if body else "GET", "PATH_INFO": path, "QUERY_STRING": query, "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost", "SERVER_PORT": "8600", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost:8600", "HTTP_ACCEPT": "*/*", "HTTP_USER_AGENT": "bench", "wsgi.url_scheme": "http",
    }  # fmt: skip
    scope |= {"HTTP_X_API_KEY": key} if key else {}
    scope |= {"HTTP_COOKIE": cookie} if cookie else {}
    scope |= {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body))} if body else {}

    def now(task: Task) -> None:
        answer(app, *task)

    serve, told = Requests(app, now, Listeners(0)), Protocol()

    def ask() -> None:
        serve(told, scope | {"wsgi.input": io.BytesIO(body)})
        if told.status != 200:
            raise SystemExit(told.content.decode())

    return ask


if __name__ == "__main__":
    main()
