"""The two environments of a server: live at `/…`, test at `/sandbox/…`, and the one in which a thing is found.

An API key works in one environment only. A login works in both, and the user who names a tenant or a file need not say
which: the thing is looked for in one after the other.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mushu.cli.answers import Answer, id_of
from mushu.cli.errors import Failure, Refused, misunderstood
from mushu.environment import Environment

if TYPE_CHECKING:
    from mushu.cli.client.api import Api
    from mushu.cli.request_credential import RequestCredential

_ORG_ID: Final = re.compile(r"org_[a-z2-7]{12}")
_LIST_ORGS: Final = "`mushu org list` shows yours."
_NOT_HERE: Final = ("tenant_not_found", "media_not_found")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class EnvironmentApi:
    """Asks a server about one environment."""

    api: "Api"
    environment: Environment

    def get(self, *path: str, **query: str) -> Answer:
        return self.api.get(*self._path(path), **query)

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Answer:
        return self.api.post(*self._path(path), body=body)

    def post_idempotent(self, *path: str, body: Mapping[str, Any]) -> Answer:
        return self.api.post_idempotent(*self._path(path), body=body)

    def patch(self, *path: str, body: Mapping[str, Any]) -> Answer:
        return self.api.patch(*self._path(path), body=body)

    def delete(self, *path: str) -> Answer:
        return self.api.delete(*self._path(path))

    def rows(self, *path: str, field: str, query: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """Return the rows of a list, page by page; a refusal is raised at once."""
        rest = self.api.rows(self._path(path), field, query or {})
        return chain(list(islice(rest, 1)), rest)

    def _path(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return ("sandbox", *path) if self.environment is Environment.TEST else path


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments that the credential of a command may use."""

    api: "Api"
    credential: "RequestCredential"

    @property
    def all(self) -> tuple[EnvironmentApi, ...]:
        own = self.credential.environment
        return tuple(EnvironmentApi(self.api, environment) for environment in ((own,) if own else Environment))

    def one(self, environment: Environment | None) -> EnvironmentApi:
        """Return the environment that is asked for; where none is, that of the key, or live.

        Raises:
            UsageError: the key is of the other one.
        """
        for api in self.all:
            if environment in (None, api.environment):
                return api
        raise click.UsageError(f"--env {environment} does not go with the key in MUSHU_API_KEY, which is of the other.")

    def in_any(self, what: str, ask: Callable[[EnvironmentApi], Result]) -> Result:
        """Ask in one environment, and where there is no such thing, in the other.

        Args:
            what: the thing, in words, for the sentence that says that it is nowhere.

        Raises:
            Failure: it is in neither.
        """
        for api in self.all:
            try:
                return ask(api)
            except Refused as refusal:
                if refusal.code not in _NOT_HERE:
                    raise
        environments = " or ".join(api.environment for api in self.all)
        raise Failure(f"There is no {what} ({environments}), or you may not see it. Check the id.")

    def org_id(self, named: str | None) -> str:
        """Return the id of the organization that is named; where none is, that of the API key.

        Raises:
            Failure: there is none of that name.
        """
        api = self.all[0]
        if named is not None:
            return org_id_of(api, named)
        only = only_org_id(api)
        if only is None:
            raise misunderstood("an API key belongs to one organization")
        return only


def _orgs(api: "Api | EnvironmentApi") -> Iterator[Answer]:
    return api.rows("orgs", field="orgs") if isinstance(api, EnvironmentApi) else api.rows(("orgs",), "orgs", {})


def only_org_id(api: "Api | EnvironmentApi") -> str | None:
    """Return the id of the organization of who asks; None where there is not exactly one."""
    rows = list(islice(_orgs(api), 2))
    return id_of(rows[0], "org_id") if len(rows) == 1 else None


def org_id_of(api: "Api | EnvironmentApi", id_or_name: str) -> str:
    """Return the id of the organization with this id or exact name.

    Raises:
        Failure: there is none, or several have the name.
    """
    if _ORG_ID.fullmatch(id_or_name):
        return id_or_name
    found = [org for org in _orgs(api) if id_or_name in (org.get("org_id"), org.get("name"))]
    by_id = [id_of(org, "org_id") for org in found if org.get("org_id") == id_or_name]
    ids = by_id or [id_of(org, "org_id") for org in found]
    if not ids:
        raise Failure(f"There is no organization {id_or_name!r} that you belong to. {_LIST_ORGS}")
    if len(ids) > 1:
        raise Failure(f"{len(ids)} organizations are named {id_or_name!r}. Use an id: {', '.join(ids)}.")
    return ids[0]
