"""Which engine serves a path, and from where on: only the server knows, for a mount may have slashes in its name."""

from dataclasses import dataclass

from mushu.destination import Denied, DestinationError
from mushu_vault import policy
from mushu_vault.client import VaultClient
from mushu_vault.errors import not_understood, unexpected
from mushu_vault.uri import VaultAddress, encoded_path


@dataclass(frozen=True, slots=True)
class Mount:
    """A KV engine, and where a secret is in it."""

    #: Without a slash at its end.
    name: str
    #: The path of the secret below the mount.
    rest: str
    #: Version of the engine: 1 or 2.
    version: int


def find_mount(client: VaultClient, address: VaultAddress) -> Mount:
    """Return the mount that serves `address`.

    Raises:
        Denied: there is none, or our token may do nothing in it: a server does not tell strangers which.
        DestinationError: it is no KV engine, or there was no answer.
    """
    question = f"/v1/sys/internal/ui/mounts/{encoded_path(address.path)}"
    reply = client.ask(lambda vault: vault.adapter.get(question))
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
    version = 2 if data.text("options", "version") == "2" else 1
    return Mount(name, address.path.removeprefix(f"{name}/"), version)


def _below(mount: str, path: str) -> str | None:
    """Return how `path` begins where it is below `mount`, or None where nothing is left of it.

    A server may answer with the namespace in front, which in `path` is left to the header.
    """
    segments = mount.split("/")
    for first in range(len(segments)):
        name = "/".join(segments[first:])
        if path.startswith(f"{name}/"):
            return name
    return None


def _unseen(client: VaultClient, address: VaultAddress) -> DestinationError:
    if client.has_valid_token() is False:
        return Denied(
            f"{client.server.url} does not know the token from {client.token_source}"
            f"{policy.in_namespace(client.server)}: it has ended, was revoked, or belongs elsewhere. Get a new one."
        )
    name, _, rest = address.path.partition("/")
    return Denied(
        f"There is no mount for {address.path} at {client.server.url}{policy.in_namespace(client.server)}, or the "
        f"token from {client.token_source} may do nothing in it. See `vault secrets list`; if {name} is a KV engine of "
        f"version 2, give the token this policy: {policy.stanza(f'{name}/data/{rest}', policy.EVERYTHING)}; "
        f"if of version 1, this: {policy.stanza(address.path, policy.EVERYTHING)}"
    )
