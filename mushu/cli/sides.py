"""The services (tenants, devices, notifications, media) on both sides of a server: live, and test under /sandbox.

An API key works on one side only. A login works on both, and whoever names a tenant or a file need not know on which
of them it stands: it is looked for on one after the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mushu.cli.answers import Answer, id_of, rows_of
from mushu.cli.faults import Failure, Refused, misunderstood
from mushu.cli.keyring import ENVIRONMENTS, Environment
from mushu.cli.lookup import org_id_of
from mushu.cli.pages import rows_at

if TYPE_CHECKING:
    from mushu.cli.api import Api
    from mushu.cli.credentials import Credential

_NOT_HERE: Final = ("tenant_not_found", "media_not_found")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Side:
    """One environment of a server."""

    api: "Api"
    environment: Environment

    def get(self, *path: str, **query: str) -> Answer:
        return self.api.get(*self._path(path), **query)

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Answer:
        return self.api.post(*self._path(path), body=body)

    def post_once(self, *path: str, body: Mapping[str, Any]) -> Answer:
        return self.api.post_once(*self._path(path), body=body)

    def patch(self, *path: str, body: Mapping[str, Any]) -> Answer:
        return self.api.patch(*self._path(path), body=body)

    def delete(self, *path: str) -> Answer:
        return self.api.delete(*self._path(path))

    def rows(self, *path: str, field: str, query: Mapping[str, str] | None = None) -> list[Answer]:
        """Return all rows of a list, from all of its pages."""
        return list(rows_at(self.api, self._path(path), field, dict(query or {})))

    def _path(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return ("sandbox", *path) if self.environment == "test" else path


@dataclass(frozen=True, slots=True)
class Sides:
    """The environments that the credential of a command may use."""

    api: "Api"
    credential: "Credential"

    @property
    def all(self) -> tuple[Side, ...]:
        own = self.credential.environment
        return tuple(Side(self.api, environment) for environment in ((own,) if own else ENVIRONMENTS))

    def one(self, environment: Environment | None) -> Side:
        """Return the side that is asked for; where none is, that of the key, or live.

        Raises:
            UsageError: the key is of the other one.
        """
        for side in self.all:
            if environment in (None, side.environment):
                return side
        raise click.UsageError(f"--env {environment} does not go with the key in MUSHU_API_KEY, which is of the other.")

    def wherever(self, what: str, ask: Callable[[Side], Result]) -> Result:
        """Ask on one side, and where there is no such thing, on the other.

        Args:
            what: the thing, in words, for the sentence that says that it is nowhere.

        Raises:
            Failure: it is on neither side.
        """
        for side in self.all:
            try:
                return ask(side)
            except Refused as refusal:
                if refusal.code not in _NOT_HERE:
                    raise
        sides = " or ".join(side.environment for side in self.all)
        raise Failure(f"There is no {what} ({sides}), or you may not see it. Check the id.")

    def org_id(self, named: str | None) -> str:
        """Return the id of the organization that is named; where none is, that of the API key.

        Raises:
            Failure: there is none of that name.
        """
        side = self.all[0]
        if named is not None:
            return org_id_of(side, named)
        rows = rows_of(side.get("orgs"), "orgs")
        if len(rows) != 1:
            raise misunderstood("an API key belongs to one organization")
        return id_of(rows[0], "org_id")


def newest_first(rows: list[Answer], field: str) -> list[Answer]:
    """Return rows of both sides as one list, newest first; `field` is the name of their ids."""
    return sorted(rows, key=lambda row: (str(row.get("created_at")), str(row.get(field))), reverse=True)
