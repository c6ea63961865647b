"""A key that was ended is refused by the next request, by each worker and on each way that remembers answers."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

from tests.e2e.conftest import Server, Start
from tests.long import times

WORKERS = 4
#: The kernel spreads them over the workers.
CONNECTIONS = 12


class Service:
    """Asks over connections of its own, whether a key is good, in each way that can be remembered."""

    def __init__(self, server: Server, connections: list[HTTPConnection]) -> None:
        self._own = {"X-API-Key": server.key}
        self._connections = connections

    def ask(self, key: str) -> set[bool]:
        json_too, form_too = (
            self._own | {"Content-Type": f"application/{kind}"} for kind in ("json", "x-www-form-urlencoded")
        )
        asked = (
            ("GET", "/forward-auth/reads", None, {"X-API-Key": key}),
            ("POST", "/api-keys/verify", json.dumps({"key": key}), json_too),
            ("POST", "/api-keys/validate", json.dumps({"key": key}), {"Content-Type": "application/json"}),
            ("POST", "/oauth/introspect", f"token={key}", form_too),
        )
        told = set()
        for connection in self._connections:
            for method, path, body, headers in asked:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                is_good = b'"valid":true' in said or b'"active":true' in said
                told.add(answer.status == 200 if method == "GET" else is_good)
        return told


@contextmanager
def connected(server: Server) -> Iterator[list[HTTPConnection]]:
    with ExitStack() as open_connections:
        yield [
            open_connections.enter_context(closing(HTTPConnection("127.0.0.1", server.port, timeout=10)))
            for _ in range(CONNECTIONS)
        ]


def test_a_key_that_was_ended_is_refused_by_the_next_request_of_every_worker(start: Start) -> None:
    server = start("--workers", str(WORKERS)).wait_until_up()
    assert "is not known" not in server.output.read_text(), "Granian's requests are taken over"
    org = server.ask("GET", "/orgs", headers={"X-API-Key": server.key})[1]["orgs"][0]["org_id"]
    added = server.flask("policies", "add", "reads", "--org", org, "--scope", "read")
    assert added.returncode == 0, added.stderr
    made = server.flask("keys", "create", "--org", org, "--name", "k", "--show-once")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    database = server.instance / "mushu.sqlite3"
    with connected(server) as connections, closing(sqlite3.connect(database, isolation_level=None)) as shell:
        service = Service(server, connections)
        for _ in range(times(20, 2_000)):
            assert [service.ask(key["key"]) for _ in range(2)] == [{True}, {True}]
            for state, is_good in (("disabled", False), ("active", True)):
                shell.execute("UPDATE api_keys SET state = ? WHERE id = ?", [state, key["key_id"]])
                assert service.ask(key["key"]) == {is_good}
        shell.execute("DELETE FROM api_keys WHERE id = ?", [key["key_id"]])
        assert service.ask(key["key"]) == {False}
    assert server.stop() == 0
