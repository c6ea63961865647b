"""What a token must be allowed, written such that it can be pasted into a policy."""

from collections.abc import Collection, Iterable
from typing import Final

from mushu.destination import Denied, DestinationError
from mushu_vault.client import A_LOOK, VaultClient
from mushu_vault.engine import Engine, Presence
from mushu_vault.errors import not_understood, unexpected
from mushu_vault.settings import VaultServer

# In the order in which people write them.
_ORDER: Final = ("create", "read", "update", "patch", "delete", "list", "sudo")
_ALL: Final = "root"
_NOTHING: Final = "deny"


def stanza(path: str, capabilities: Iterable[str]) -> str:
    """Return the policy that allows `capabilities` at `path` of the API, in one line of HCL."""
    wanted = sorted(capabilities, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'path "{quoted}" {{ capabilities = [{", ".join(f"{chr(34)}{name}{chr(34)}" for name in wanted)}] }}'


def for_any_mount(path: str, capabilities: Collection[str]) -> str:
    """Return the policies of which one allows `capabilities` at `path`, where nobody told which part is the mount."""
    names = path.split("/")
    second = ["/".join([*names[:length], "data", *names[length:]]) for length in range(1, len(names))]
    return (
        f"where it is KV version 2, this, with data/ right behind the mount: "
        f"{' or '.join(f'`{stanza(candidate, capabilities)}`' for candidate in second)}. "
        f"Where it is version 1: `{stanza(path, capabilities)}`."
    )


def granted_to(client: VaultClient, path: str) -> frozenset[str] | None:
    """Return the capabilities that our token has at `path`, or None where it may not even ask that.

    Raises:
        Denied: the token has ended, or belongs elsewhere.
        DestinationError: there was no answer.
    """
    reply = client.ask(lambda vault: vault.sys.get_capabilities([path]))
    fault = client.token_fault(path) if reply.status == 403 else None
    if fault is not None:
        raise fault
    if reply.status in (400, 403, 404):
        return None
    if not reply.is_success:
        raise unexpected(client.server.url, reply.status, reply.location)
    capabilities = None if reply.body is None else reply.body.texts("data", path)
    if capabilities is None:
        raise not_understood(client.server.url)
    return frozenset(capabilities)


def denied(client: VaultClient, engine: Engine, presence: Presence | None) -> Denied:
    """Return the error for a refusal at the path of `engine`, with what would have to be allowed.

    Args:
        presence: what is there now; None where that is not known.
    """
    fault = client.token_fault(engine.data_path)
    if fault is not None:
        return fault
    try:
        granted = granted_to(client, engine.data_path)
    except DestinationError:
        granted = None
    # A secret that has metadata and no version looks like none, and yet a write to it is an update.
    lacking = engine.lacking(presence, granted or ()) or engine.lacking(None, granted or ())
    if client.wanted == A_LOOK:
        lacking = set() if is_granted("read", granted or ()) else set(A_LOOK)
    if granted is not None and not lacking:
        return Denied(
            f"{client.server.url} refuses the token from {client.token_source} at {engine.data_path}, though a policy "
            "allows it. See whether one restricts parameters, and whether the token has just ended."
        )
    return missing(client, engine.data_path, lacking, granted or ())


def missing(client: VaultClient, path: str, lacking: Collection[str], granted: Collection[str]) -> Denied:
    """Return the error for what is `lacking` at `path`, with the shortest policy that would be enough.

    The path that fits best decides alone. So what the token has been granted there by a path with a wildcard would be
    lost if the new one did not name it, too.
    """
    whole = {*lacking, *granted} - {_ALL, _NOTHING}
    return Denied(
        f"The token from {client.token_source} may not {_listed(lacking)} {path} at {client.server.url}. Give it this "
        f"policy{in_namespace(client.server)}: `{stanza(path, whole)}`."
    )


def in_namespace(server: VaultServer) -> str:
    """Return where the server is looked at, as the end of a clause; empty for the uppermost namespace."""
    return f" in the namespace {server.namespace}" if server.namespace else ""


def is_granted(capability: str, granted: Collection[str]) -> bool:
    """Tell whether `capability` is among those that were granted."""
    return capability in granted or _ALL in granted


def _listed(capabilities: Iterable[str]) -> str:
    return ", ".join(name for name in _ORDER if name in set(capabilities))
