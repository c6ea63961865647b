"""A real server, set up with the methods of the stub as far as it can be."""

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx

from tests.vault.bao import Address


class RealVault:
    """Sets up what a test needs, and takes away all of it at the end."""

    def __init__(self, address: Address) -> None:
        self.address = address.url.rstrip("/")
        self.root_token = address.root_token
        self._made: list[tuple[str, str]] = []
        self._namespaces: list[str] = []
        self._client = httpx.Client(headers={"X-Vault-Token": self.root_token}, trust_env=False, timeout=30)

    def close(self) -> None:
        for namespace, path in reversed(self._made):
            # OpenBao 2.6 may stumble over a division by zero while it unmounts, and hang up.
            with suppress(httpx.TransportError):
                self._ask("DELETE", path, None, namespace)
        self._client.close()

    def namespace(self, path: str) -> None:
        self._ask("POST", f"sys/namespaces/{path.strip('/')}")
        self._made.append(("", f"sys/namespaces/{path.strip('/')}"))
        self._namespaces.append(f"{path.strip('/')}/")

    def mount(
        self,
        path: str,
        version: int = 2,
        cas_required: bool = False,
        max_versions: int = 0,
    ) -> None:
        self._ask("POST", self._mounts(path), {"type": "kv", "options": {"version": str(version)}})
        self._made.append(("", self._mounts(path)))
        if version == 2:
            self._await(path)
        if cas_required or max_versions:
            self._ask("POST", f"{path}/config", {"cas_required": cas_required, "max_versions": max_versions})

    def _await(self, path: str) -> None:
        """Wait until a new mount is ready: for a moment it answers 400, as it "upgrades" what is not there."""
        deadline = time.monotonic() + 10
        while self._client.get(f"{self.address}/v1/{path}/config").is_error and time.monotonic() < deadline:
            time.sleep(0.02)

    def policy(self, name: str, rules: Mapping[str, Iterable[str]], namespace: str = "") -> None:
        paths = {path: {"capabilities": list(words)} for path, words in rules.items()}
        self._ask("POST", f"sys/policies/acl/{name}", {"policy": json.dumps({"path": paths})}, namespace)
        self._made.append((namespace, f"sys/policies/acl/{name}"))

    def token(self, policies: Iterable[str] = (), ttl: int = 3600, num_uses: int = 0, namespace: str = "") -> str:
        wanted = {"policies": list(policies) or ["default"], "ttl": f"{ttl}s", "num_uses": num_uses, "no_parent": True}
        return str(self._ask("POST", "auth/token/create", wanted, namespace)["auth"]["client_token"])

    def revoke(self, token: str) -> None:
        self._ask("POST", "auth/token/revoke", {"token": token})

    def approle(
        self,
        role: str,
        policies: Iterable[str],
        mount: str = "approle",
        namespace: str = "",
        token_ttl: int = 0,
        token_num_uses: int = 0,
        secret_id_num_uses: int = 0,
        bind_secret_id: bool = True,
    ) -> tuple[str, str]:
        """Return the role id and a secret id of the role; the mount is made if it is not there."""
        if f"{mount}/" not in self._ask("GET", "sys/auth", None, namespace)["data"]:
            self._ask("POST", f"sys/auth/{mount}", {"type": "approle"}, namespace)
            self._made.append((namespace, f"sys/auth/{mount}"))
        wanted = {"token_policies": list(policies), "token_ttl": token_ttl, "token_num_uses": token_num_uses}
        wanted |= {"secret_id_num_uses": secret_id_num_uses}
        self._ask("POST", f"auth/{mount}/role/{role}", wanted | {"bind_secret_id": bind_secret_id}, namespace)
        role_id = self._ask("GET", f"auth/{mount}/role/{role}/role-id", None, namespace)["data"]["role_id"]
        return str(role_id), self.secret_id(role, mount, namespace)

    def secret_id(self, role: str, mount: str = "approle", namespace: str = "") -> str:
        answer = self._ask("POST", f"auth/{mount}/role/{role}/secret-id", {}, namespace)
        return str(answer["data"]["secret_id"])

    def wrapped_secret_id(self, role: str, mount: str = "approle", namespace: str = "", ttl: int = 60) -> str:
        answer = self._ask("POST", f"auth/{mount}/role/{role}/secret-id", {}, namespace, {"X-Vault-Wrap-TTL": str(ttl)})
        return str(answer["wrap_info"]["token"])

    def _ask(
        self, method: str, path: str, body: Any = None, namespace: str = "", headers: dict[str, str] | None = None
    ) -> Any:
        inside = {"X-Vault-Namespace": namespace} if namespace else {}
        answer = self._client.request(method, f"{self.address}/v1/{path}", json=body, headers=inside | (headers or {}))
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def _mounts(self, path: str) -> str:
        """Return where a mount is made; one in a namespace that was made here is made inside of it."""
        inside = max((made for made in self._namespaces if path.strip("/").startswith(made)), key=len, default="")
        return f"{inside}sys/mounts/{path.strip('/').removeprefix(inside)}"
