"""A real server, and what a test sets up in it."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.vault.bao import Address
from tests.vault.kept import Kept
from tests.vault.upstream import Upstream

#: Signs the JWTs that `jwt_role` hands out.
_ISSUER: Final = Ed25519PrivateKey.generate()


class RealVault(Kept):
    """Sets up what a test needs, and takes away all of it at the end; `within` is the namespace that it stays in."""

    def __init__(self, server: Address, within: str = "") -> None:
        super().__init__()
        self.address = server.url.rstrip("/")
        self.root_token = server.root_token
        self._within = within
        self._made: list[tuple[str, str]] = []
        self._upstream = Upstream(server)

    def close(self) -> None:
        for namespace, path in reversed(self._made):
            # OpenBao 2.6 may stumble over a division by zero while it unmounts, and hang up.
            with suppress(HTTPException, OSError):
                self.ask("DELETE", path, None, namespace)
        self._upstream.close()

    def ask(
        self, method: str, path: str, body: Any = None, namespace: str = "", version: int = 0, wrap_ttl: int = 0
    ) -> dict[str, Any]:
        headers = {"X-Vault-Token": self.root_token, "X-Vault-Namespace": self.inside(namespace)}
        if wrap_ttl:
            headers["X-Vault-Wrap-TTL"] = str(wrap_ttl)
        content = None if body is None else json.dumps(body).encode()
        target = f"/v1/{quote(path)}" + (f"?version={version}" if version else "")
        answer = self._upstream.ask(method, target, headers, content)
        return dict(json.loads(answer.body)) if answer.body else {}

    def inside(self, namespace: str) -> str:
        """Return the full name of a namespace."""
        name = namespace.strip("/")
        return "/".join(part for part in (self._within, name) if part not in ("", "root"))

    def namespace(self, path: str) -> None:
        self._make(f"sys/namespaces/{path}")

    def mount(
        self,
        path: str,
        version: int = 2,
        cas_required: bool = False,
        max_versions: int = 0,
        namespace: str = "",
        kind: str = "kv",
    ) -> None:
        wanted: dict[str, Any] = {"type": kind} | ({"options": {"version": str(version)}} if kind == "kv" else {})
        self._make(f"sys/mounts/{path}", wanted, namespace)
        if not namespace:
            self.versions[path] = version
        # For a moment a new mount of version 2 answers 400, as it "upgrades" what is not there.
        deadline = time.monotonic() + 10
        while version == 2 and "errors" in self.ask("GET", f"{path}/config", None, namespace):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        if cas_required or max_versions:
            self.do("POST", f"{path}/config", {"cas_required": cas_required, "max_versions": max_versions}, namespace)

    def policy(self, name: str, rules: Mapping[str, Iterable[str]], namespace: str = "") -> None:
        paths = {path: {"capabilities": list(words)} for path, words in rules.items()}
        self._make(f"sys/policies/acl/{name}", {"policy": json.dumps({"path": paths})}, namespace)

    def token(self, policies: Iterable[str] = (), namespace: str = "") -> str:
        wanted = {"policies": list(policies) or ["default"], "ttl": "3600s", "no_parent": True}
        return str(self.do("POST", "auth/token/create", wanted, namespace)["auth"]["client_token"])

    def revoke(self, token: str) -> None:
        self.do("POST", "auth/token/revoke", {"token": token})

    def end_logins(self, mount: str = "approle") -> None:
        """End every token that a login gave."""
        self.do("POST", f"sys/leases/revoke-prefix/auth/{mount}/login", {"sync": True})

    def approle(self, role: str, policies: Iterable[str], mount: str = "approle", **wanted: Any) -> tuple[str, str]:
        """Return the role id and a secret id of the role; the mount is made if it is not there."""
        self.enable("approle", mount)
        self.do("POST", f"auth/{mount}/role/{role}", {"token_policies": list(policies), **wanted})
        role_id = self.do("GET", f"auth/{mount}/role/{role}/role-id")["data"]["role_id"]
        return str(role_id), self.secret_id(role, mount) if wanted.get("bind_secret_id", True) else ""

    def secret_id(self, role: str, mount: str = "approle") -> str:
        return str(self.do("POST", f"auth/{mount}/role/{role}/secret-id", {})["data"]["secret_id"])

    def wrapped_secret_id(self, role: str, mount: str = "approle") -> str:
        """Return a wrapping token that unwraps to a new secret id of a role."""
        return self.wrap({}, f"auth/{mount}/role/{role}/secret-id")

    def wrap(self, data: Mapping[str, Any], path: str = "sys/wrapping/wrap") -> str:
        """Return a wrapping token that unwraps to any data."""
        return str(self.ask("POST", path, data, wrap_ttl=60)["wrap_info"]["token"])

    def jwt_role(self, role: str, policies: Iterable[str], mount: str = "jwt") -> str:
        """Return a JWT that logs in to the role; Kubernetes takes the same login, so `mount` may be its name, too."""
        if self.enable("jwt", mount):
            key = _ISSUER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            self.do("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [key]})
        wanted = {"role_type": "jwt", "bound_subject": role, "user_claim": "sub", "token_policies": list(policies)}
        self.do("POST", f"auth/{mount}/role/{role}", wanted)
        now = int(time.time())
        parts = ({"alg": "EdDSA", "typ": "JWT"}, {"sub": role, "nbf": now, "exp": now + 600})
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in parts)
        return (signed + b"." + _encoded(_ISSUER.sign(signed))).decode()

    def enable(self, kind: str, mount: str) -> bool:
        """Mount a way to log in; tell whether it was not there."""
        if f"{mount}/" in self.do("GET", "sys/auth")["data"]:
            return False
        self._make(f"sys/auth/{mount}", {"type": kind})
        return True

    def _make(self, path: str, body: Any = None, namespace: str = "") -> None:
        self.do("POST", path, body, namespace)
        self._made.append((namespace, path))

    def do(self, method: str, path: str, body: Any = None, namespace: str = "") -> dict[str, Any]:
        answer = self.ask(method, path, body, namespace)
        if "errors" in answer:
            raise RuntimeError(f"{method} {path}: {answer['errors']}")
        return answer


def _encoded(part: bytes) -> bytes:
    return urlsafe_b64encode(part).rstrip(b"=")
