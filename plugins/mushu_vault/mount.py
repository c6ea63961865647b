"""Which server and which engine serve a path, and from where on: only the server knows.

An address may lead to another cluster tomorrow, and a mount may have slashes in its name.
"""

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from mushu.destination import Denied, DestinationError, Location
from mushu_vault import policy
from mushu_vault.client import VaultClient, asked
from mushu_vault.connection import VaultConnection
from mushu_vault.errors import not_understood, unexpected
from mushu_vault.settings import VaultServer
from mushu_vault.uri import VaultAddress, encoded_path

_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class Mount:
    """A KV engine, and where a secret is in it."""

    #: Without a slash at its end.
    name: str
    #: The path of the secret below the mount.
    rest: str
    #: Version of the engine: 1 or 2.
    version: int


def find_location(server: VaultServer, address: VaultAddress) -> Location:
    """Return the cluster that answers, and the namespace, as far as `address` does not name it.

    The cluster's id is stored with its data, so all servers of one have it, under whatever address. It is told without
    a token, at the uppermost namespace. Where something hides that, the address has to do.

    Raises:
        DestinationError: there was no answer, or the server is sealed.
    """
    with VaultConnection(replace(server, namespace="")) as connection:
        reply = asked(partial(connection.exchange, lambda vault: vault.adapter.get("/v1/sys/health"), None))
    if reply.status >= 500:
        raise unexpected(server.url, reply.status, reply.location)
    cluster_id = None if reply.body is None else reply.body.text("cluster_id")
    if reply.is_success and reply.body is None:
        raise not_understood(server.url)
    names = [f"cluster {cluster_id}" if cluster_id and _ID.fullmatch(cluster_id) else server.url]
    directions = f"with VAULT_ADDR={server.url}"
    if address.namespace is None:
        names.append(f"namespace {server.namespace}" if server.namespace else "the uppermost namespace")
        directions += f" VAULT_NAMESPACE={server.namespace or 'root'}"
    return Location(", ".join(names), directions)


def find_mount(client: VaultClient, address: VaultAddress) -> Mount:
    """Return the mount that serves `address`.

    Raises:
        Denied: there is none, or our token may do nothing in it: a server does not tell strangers which.
        DestinationError: it is no KV engine, or there was no answer.
    """
    reply = client.ask(lambda vault: vault.adapter.get(f"/v1/sys/internal/ui/mounts/{encoded_path(address.path)}"))
    if reply.status == 403:
        raise _unseen(client, address)
    if not reply.is_success:
        raise unexpected(client.server.url, reply.status, reply.location)
    data = reply.body.child("data") if reply.body is not None else None
    path, kind = (data.text("path"), data.text("type")) if data is not None else (None, None)
    if data is None or path is None or kind is None:
        raise not_understood(client.server.url)
    name = _below(path.strip("/"), address.path)
    if kind not in ("kv", "generic"):
        raise DestinationError(
            f"The engine at the mount of {address.path} is not KV, so it stores no keys. Name a secret in a KV engine "
            "(`vault secrets list`), or enable one: `vault secrets enable -version=2 -path=secret kv`.",
            permanent=True,
        )
    if name is None:
        raise DestinationError(
            f"{address.path} is itself a mount, not a secret. Write the path of the secret after it.", permanent=True
        )
    return Mount(name, address.path.removeprefix(f"{name}/"), 2 if data.text("options", "version") == "2" else 1)


def _below(mount: str, path: str) -> str | None:
    """Return how `path` begins where it is below `mount`, or None where nothing is left of it.

    A server may answer with the namespace in front, which in `path` is left to the header.
    """
    segments = mount.split("/")
    names = ("/".join(segments[first:]) for first in range(len(segments)))
    return next((name for name in names if path.startswith(f"{name}/")), None)


def _unseen(client: VaultClient, address: VaultAddress) -> DestinationError:
    if (fault := client.token_fault(address.path)) is not None:
        return fault
    return Denied(
        f"There is no mount for {address.path} at {client.server.url}{policy.in_namespace(client.server)}, or the "
        f"token from {client.token_source} may do nothing in it. See `vault secrets list` for the mount, and give the "
        f"token the policy for it: {policy.for_any_mount(address.path, client.wanted)}"
    )
