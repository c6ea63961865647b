"""Tokens: who they are, how long they live, how often they may be used."""

import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.vault.answers import Refused, Reply, listed
from tests.vault.calls import Call
from tests.vault.values import now, written

_SECOND = 10**9
_DEFAULT_TTL = 32 * 24 * 3600
_LETTERS = string.ascii_letters + string.digits


@dataclass
class Token:
    """One token; `ttl` in seconds, 0 for one that never ends; `wrapped` is the answer that it stands for."""

    id: str
    policies: list[str]
    namespace: str = ""
    ttl: int = 0
    uses: int = 0
    renewable: bool = False
    path: str = "auth/token/create"
    display_name: str = "token"
    metadata: dict[str, str] | None = None
    entity: str = ""
    orphan: bool = False
    wrapped: Reply | None = None
    accessor: str = field(default_factory=lambda: random_text(24))
    created: int = field(default_factory=now)
    expires: int | None = None

    def __post_init__(self) -> None:
        if self.ttl and self.expires is None:
            self.expires = self.created + self.ttl * _SECOND

    @property
    def remaining(self) -> int:
        return 0 if self.expires is None else max(0, round((self.expires - now()) / _SECOND))

    def described(self) -> dict[str, Any]:
        """Return what `lookup-self` tells."""
        told = {
            "accessor": self.accessor,
            "creation_time": self.created // _SECOND,
            "creation_ttl": self.ttl,
            "display_name": self.display_name,
            "entity_id": self.entity,
            "expire_time": written(self.expires) or None,
            "explicit_max_ttl": 0,
            "id": self.id,
            "issue_time": written(self.created),
            "meta": self.metadata,
            "num_uses": self.uses,
            "orphan": self.orphan,
            "path": self.path,
            "policies": self.policies,
            "renewable": self.renewable,
            "ttl": self.remaining,
            "type": "service",
        }
        return told | ({"namespace_path": self.namespace} if self.namespace else {})

    def auth(self) -> dict[str, Any]:
        """Return what a login answers."""
        return {
            "client_token": self.id,
            "accessor": self.accessor,
            "policies": self.policies,
            "token_policies": self.policies,
            "metadata": self.metadata,
            "lease_duration": self.remaining,
            "renewable": self.renewable,
            "entity_id": self.entity,
            "token_type": "service",
            "orphan": self.orphan,
            "mfa_requirement": None,
            "num_uses": self.uses,
        }


class Tokens:
    """All the tokens of a server, and `auth/token/`."""

    def __init__(self, root: str) -> None:
        self._tokens = {root: Token(root, ["root"], orphan=True)}

    def find(self, text: str) -> Token | None:
        token = self._tokens.get(text)
        return None if token is None or (token.expires is not None and token.expires <= now()) else token

    def get(self, text: str) -> Token:
        """Raises: KeyError."""
        return self._tokens[text]

    def add(self, token: Token) -> Token:
        self._tokens[token.id] = token
        return token

    def revoke(self, text: str) -> None:
        self._tokens.pop(text, None)

    def expire(self, text: str) -> None:
        """Let a token end in this moment. Raises: KeyError, for one that there is not."""
        self._tokens[text].expires = now()

    def use(self, token: Token) -> bool:
        """Count one use; return whether it was the last."""
        if not token.uses:
            return False
        token.uses = -1 if token.uses == 1 else token.uses - 1
        return token.uses == -1

    def handle(self, call: Call) -> Reply | None:
        """Answer what a token asks about itself. Raises: Refused."""
        token = self._tokens[call.token]
        match call.operation, call.path:
            case "read" | "update", "lookup-self":
                return Reply(token.described())
        raise Refused(404, listed("unsupported path"))


def random_text(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def new_id(namespace: str = "") -> str:
    """Return a new token; those of a namespace end in its mark."""
    return f"s.{random_text(24)}" + (f".{namespace_mark(namespace)}" if namespace else "")


def namespace_mark(namespace: str) -> str:
    return f"{abs(hash(namespace)):x}"[:6].rjust(6, "0")


def with_default(policies: Iterable[str]) -> list[str]:
    given = set(policies)
    return sorted(given if "root" in given else given | {"default"})
