"""The SDK as a user has it: on a clean environment, against a stub or the real server."""

import os
from collections.abc import Callable

import pytest

from mushu.keyformat import Prefix, generate
from tests.cli.conftest import Served, _Quiet, served, stub
from tests.server.conftest import app, context, core, database_template, settings, world

__all__ = ["Served", "_Quiet", "app", "context", "core", "database_template", "served", "settings", "stub", "world"]

#: Right in form and checksum, and nobody's.
LIVE = generate(Prefix.LIVE_KEY).reveal()
TEST = generate(Prefix.TEST_KEY).reveal()
TOKEN = generate(Prefix.CLI_TOKEN).reveal()
URL = "https://mushu.example.com"

Environment = Callable[..., None]


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("MUSHU_", "SSL_CERT")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables
