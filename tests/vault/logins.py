"""Ways to log in: AppRole, Kubernetes, JWT."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.vault.answers import Refused, Reply
from tests.vault.calls import Call
from tests.vault.tokens import Token, Tokens, new_id, with_default

_INVALID = "invalid role or secret ID"
_DEFAULT_TTL = 32 * 24 * 3600


@dataclass
class Role:
    """What a login as this role gives; `jwts` are the texts that it accepts, `secret_ids` how often each still may."""

    policies: list[str]
    token_ttl: int = 0
    token_num_uses: int = 0
    secret_id_num_uses: int = 0
    bind_secret_id: bool = True
    role_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret_ids: dict[str, int] = field(default_factory=dict)
    jwts: set[str] = field(default_factory=set)

    def new_secret_id(self) -> str:
        secret_id = str(uuid.uuid4())
        self.secret_ids[secret_id] = self.secret_id_num_uses
        return secret_id


class Login:
    """One way to log in, at one mount."""

    def __init__(self, kind: str, mount: str, namespace: str, tokens: Tokens) -> None:
        self.kind = kind
        self.roles: dict[str, Role] = {}
        self._mount = mount
        self._namespace = namespace
        self._tokens = tokens

    def handle(self, call: Call) -> Reply:
        """Raises: Refused."""
        if call.path != "login":
            raise Refused(404, "unsupported path")
        if self.kind == "approle" and not call.fields.get("role_id"):
            raise Refused(500, "missing role_id")  # not 400: it is the search for the role that fails
        if not call.writes or call.operation == "patch":
            raise Refused(405, "unsupported operation")
        fields = {name: str(value).strip() for name, value in call.fields.items() if value is not None}
        enter = {"approle": self._approle, "kubernetes": self._kubernetes, "jwt": self._jwt}[self.kind]
        name, role = enter(fields)
        return Reply(auth=self._token(name, role).auth())

    def _token(self, name: str, role: Role) -> Token:
        own = {"approle": "role_name", "kubernetes": "role", "jwt": "role"}[self.kind]
        token = Token(
            new_id(self._namespace),
            with_default(role.policies),
            self._namespace,
            role.token_ttl or _DEFAULT_TTL,
            role.token_num_uses,
            renewable=True,
            path=f"auth/{self._mount}/login",
            display_name=self._mount,
            metadata={own: name},
            entity=str(uuid.uuid4()),
            orphan=True,
        )
        return self._tokens.add(token)

    def _approle(self, fields: Mapping[str, str]) -> tuple[str, Role]:
        found = [(name, role) for name, role in self.roles.items() if role.role_id == fields["role_id"]]
        if not found:
            raise Refused(400, _INVALID)
        name, role = found[0]
        secret_id = fields.get("secret_id", "")
        if role.bind_secret_id:
            self._check(role, secret_id)
            uses = role.secret_ids[secret_id]
            if uses == 1:
                del role.secret_ids[secret_id]
            elif uses:
                role.secret_ids[secret_id] = uses - 1
        return name, role

    def _check(self, role: Role, secret_id: str) -> None:
        if not secret_id:
            raise Refused(400, "missing secret_id")
        if secret_id not in role.secret_ids:
            raise Refused(400, _INVALID)

    def _kubernetes(self, fields: Mapping[str, str]) -> tuple[str, Role]:
        for name in ("role", "jwt"):
            if not fields.get(name):
                raise Refused(400, f"missing {name}")
        role = self.roles.get(fields["role"])
        if role is None:
            raise Refused(400, f'invalid role name "{fields["role"]}"')
        if fields["jwt"] not in role.jwts:
            raise Refused(403, "permission denied")
        return fields["role"], role

    def _jwt(self, fields: Mapping[str, str]) -> tuple[str, Role]:
        if not fields.get("role"):
            raise Refused(400, "missing role")
        role = self.roles.get(fields["role"])
        if role is None:
            raise Refused(400, f'role "{fields["role"]}" could not be found')
        if not fields.get("jwt"):
            raise Refused(400, "missing token")
        if fields["jwt"] not in role.jwts:
            raise Refused(400, "error validating token: no known key successfully validated the token signature")
        return fields["role"], role
