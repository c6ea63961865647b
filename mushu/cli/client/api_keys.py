"""The API keys of one organization on the server, in both of its environments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from mushu.cli.answers import Answer, newest_first, rows_of
from mushu.cli.errors import Failure, Refused
from mushu.environment import Environment

if TYPE_CHECKING:
    from mushu.cli.client.api import Api

_NOT_FOUND: Final = "key_not_found"
_INVALID: Final = "invalid_input"
#: How a server of an older version answers a look-up, of which it has not heard: 404, 405.
_NO_LOOKUP: Final = ("not_found", "method_not_allowed")

Result = TypeVar("Result")


class ApiKeys:
    """Live keys are at /orgs, test keys at /sandbox/orgs; the user who names a key need not know which it is.

    Args:
        environments: those that the credential is good for: both for a user, one for an API key.
    """

    def __init__(self, api: "Api", org_id: str, environments: Sequence[Environment] = tuple(Environment)) -> None:
        self._api = api
        self._org_id = org_id
        self.environments = environments

    @property
    def server(self) -> str:
        """The address of the server."""
        return self._api.url

    def environment(self, named: Environment | None) -> Environment:
        """Return the environment of a new key: the one that is named, else that of the key that asks, or live."""
        return named or self.environments[0]

    def create(self, environment: Environment, request: dict[str, Any]) -> Answer:
        return self._api.post_idempotent(*self._path(environment), body=request)

    def list_all(self, environments: Sequence[Environment], query: Mapping[str, str]) -> tuple[Iterator[Answer], bool]:
        """Return the keys that `query` asks for, page by page; and whether both environments have any.

        They come newest first; where `query` sorts them, live keys come before test keys.
        """
        lists = [self._api.rows(self._path(environment), "api_keys", query) for environment in environments]
        first = [list(islice(rows, 1)) for rows in lists]
        is_mixed = sum(map(bool, first)) > 1
        found = [*map(chain, first, lists)]
        return chain(*found) if "sort" in query else newest_first(found, "key_id"), is_mixed

    def show(self, key_id: str) -> Answer:
        return self._in_either(key_id, lambda environment: self.show_in(environment, key_id))

    def show_in(self, environment: Environment, key_id: str) -> Answer:
        return self._api.get(*self._path(environment), key_id)

    def usage(self, key_id: str) -> Answer:
        """Return how a key was used; of a deleted key, too."""
        return self._in_either(key_id, lambda environment: self._api.get(*self._path(environment), key_id, "usage"))

    def rename(self, key_id: str, name: str) -> Answer:
        return self._in_either(
            key_id, lambda environment: self._api.patch(*self._path(environment), key_id, body={"name": name})
        )

    def restrict(self, key_id: str, changes: dict[str, Any]) -> Answer:
        """Change how often and from where a key may be used."""
        return self._in_either(
            key_id,
            lambda environment: self._api.patch(*self._path(environment), key_id, "restrictions", body=changes),
        )

    def change(self, key_id: str, change: Literal["enable", "disable"]) -> Answer:
        return self._in_either(key_id, lambda environment: self._api.post(*self._path(environment), key_id, change))

    def delete(self, key_id: str) -> Answer:
        return self._in_either(key_id, lambda environment: self.delete_in(environment, key_id))

    def delete_in(self, environment: Environment, key_id: str) -> Answer:
        return self._api.delete(*self._path(environment), key_id)

    def rotate(self, key_id: str, terms: Answer) -> Answer:
        """Put a new key in the place of one, on the server or by being told it."""
        return self._in_either(key_id, lambda environment: self.rotate_in(environment, key_id, terms))

    def rotate_in(self, environment: Environment, key_id: str, terms: Answer) -> Answer:
        return self._api.post_idempotent(*self._path(environment), key_id, "rotate", body=terms)

    def extend(self, key_id: str, retires_at: str) -> Answer:
        """Let the old key of a rotation work until that moment."""
        body = {"retires_at": retires_at}
        return self._in_either(
            key_id, lambda environment: self._api.post(*self._path(environment), key_id, "extend", body=body)
        )

    def deliveries(self, key_id: str) -> list[Answer]:
        """Return the ledger of where a key was put, oldest first; of a deleted key, too."""
        answer = self._in_either(
            key_id, lambda environment: self._api.get(*self._path(environment), key_id, "deliveries")
        )
        return rows_of(answer, "deliveries")

    def environment_of(self, key_id: str) -> Environment:
        """Return the environment of a key.

        Raises:
            Failure: there is no such key.
        """

        def found(environment: Environment) -> Environment:
            self.show_in(environment, key_id)
            return environment

        return self._in_either(key_id, found)

    def find_by_digest(self, digest: str) -> Answer | None:
        """Return the key with this SHA-256, in either environment and deleted ones included; None if none has."""
        for environment in self.environments:
            try:
                return self._api.post(*self._path(environment), "lookup", body={"digest": digest})
            except Refused as refusal:
                if refusal.code not in (_NOT_FOUND, *_NO_LOOKUP):
                    raise
        return None

    def confirm(self, environment: Environment, key_id: str, deliveries: list[dict[str, str]]) -> Answer:
        """Tell the server what was read back where; only then is the key active."""
        path = (*self._path(environment), key_id, "delivered")
        try:
            return self._api.post(*path, body={"deliveries": deliveries})
        except Refused as refusal:
            if refusal.code != _INVALID or "location" not in refusal.message:
                raise
        # A server of version 1.0 has not heard of locations.
        known = [{name: text for name, text in proof.items() if name != "location"} for proof in deliveries]
        return self._api.post(*path, body={"deliveries": known})

    def _path(self, environment: Environment) -> tuple[str, ...]:
        sandbox = ("sandbox",) if environment is Environment.TEST else ()
        return (*sandbox, "orgs", self._org_id, "api-keys")

    def _in_either(self, key_id: str, ask: Callable[[Environment], Result]) -> Result:
        """Ask where live keys are, and where there is no such key, where test keys are."""
        for environment in self.environments:
            try:
                return ask(environment)
            except Refused as refusal:
                if refusal.code != _NOT_FOUND:
                    raise
        raise Failure(
            f"There is no API key {key_id} in {self._org_id}. `mushu api-key list --all --org {self._org_id}` shows "
            "them, deleted ones, too."
        )
