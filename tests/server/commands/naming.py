"""Naming destinations with `flask destinations`, and making sure that what is secret is never shown."""

from tests.ran import Ran
from tests.server.commands.conftest import Run

TOKEN = "hunter2"


def add(run: Run, name: str = "backend", uri: str = "env:.env", *options: str, stdin: str | None = None) -> Ran:
    ran = run("destinations", "add", name, uri, "--org", "acme", *options, stdin=stdin)
    assert TOKEN not in ran.stdout + ran.stderr
    return ran


def listed(run: Run, org: str = "acme") -> list[dict[str, object]]:
    ran = run("destinations", "list", "--org", org, "--json")
    assert TOKEN not in ran.stdout + ran.stderr
    rows: list[dict[str, object]] = ran.json
    return rows


def check(run: Run, name: str = "backend") -> tuple[int, dict[str, object]]:
    ran = run("destinations", "check", name, "--org", "acme")
    return ran.code, ran.json


def deliver(run: Run, *uris: str, org: str = "acme") -> Ran:
    return run("keys", "create", "--org", org, "--name", "k", *(part for uri in uris for part in ("--to", uri)))
