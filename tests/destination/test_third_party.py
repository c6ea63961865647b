"""A plugin of somebody else, whose scheme has a hyphen: it gets the same settings wherever it is run."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from typing import Self

import pytest

from mushu.cli.delivery import open_targets
from mushu.destination import Attempt, Destination, Holding, Receipt, Secret, Surroundings, registry
from tests.server.commands.conftest import Run, acme, run
from tests.server.conftest import database_template, settings

__all__ = ["acme", "database_template", "run", "settings"]

#: The settings that each instance was given.
GIVEN: list[Mapping[str, str]] = []


class SecretsManager(Destination):
    """The destination `aws-sm:NAME`, which always holds nothing."""

    scheme = "aws-sm"

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        GIVEN.append(surroundings.settings)
        return cls(uri)

    @property
    def uri(self) -> str:
        return self._uri

    def preflight(self) -> None:
        pass

    def read(self) -> Holding:
        return Holding("1", None)

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        raise NotImplementedError

    def restore(self, receipt: Receipt) -> bool:
        raise NotImplementedError

    def remove(self, digest: str) -> bool:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = EntryPoint("aws-sm", f"{__name__}:SecretsManager", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **wanted: EntryPoints([plugin]).select(**wanted))
    monkeypatch.setenv("MUSHU_AWS_SM_REGION", "eu-central-1")
    monkeypatch.setenv("MUSHU_AWS_REGION", "another scheme's")
    GIVEN.clear()


@pytest.mark.usefixtures("acme")
def test_the_same_settings_from_the_environment_on_the_client_and_on_the_server(run: Run) -> None:
    open_targets(["aws-sm:app"])
    assert GIVEN == [{"region": "eu-central-1"}]
    assert run("destinations", "add", "app", "aws-sm:app", "--org", "acme").code == 0
    GIVEN.clear()
    checked = run("destinations", "check", "app", "--org", "acme")
    assert checked.code == 0, checked.stderr
    assert GIVEN == [{"region": "eu-central-1"}]


@pytest.mark.usefixtures("acme")
def test_what_a_named_destination_has_of_its_own_overrides_and_completes_them(run: Run) -> None:
    own = ("--set", "region=us-east-1", "--set", "profile=mushu")
    assert run("destinations", "add", "app", "aws-sm:app", "--org", "acme", *own).code == 0
    GIVEN.clear()
    checked = run("destinations", "check", "app", "--org", "acme")
    assert checked.code == 0, checked.stderr
    assert GIVEN == [{"region": "us-east-1", "profile": "mushu"}]
