"""Errors for the operator: what a status that is no success means, and what to do about it.

Nothing that a server says is repeated: it has seen the key, and what it says would end up in a log.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from mushu.destination import DestinationError

_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")

_UNAVAILABLE: Final = "Vault is sealed, or it is starting: unseal it (see `vault status`), then try again"
_PASSING: Final = {
    412: "has not caught up with a write yet. Try again in a moment",
    429: "is asked too often, and refuses for now. Try again later, or raise its rate limit",
    472: "is a standby of another region, and does not answer. Set VAULT_ADDR to an active one",
    473: "is a standby, and does not answer. Set VAULT_ADDR to an active one, or try again",
    501: "is not initialized. Run `vault operator init`, then try again",
    503: f"is not available. {_UNAVAILABLE}",
}
_LASTING: Final = {
    400: "does not accept what was asked of it. See its audit log for the reason",
    404: "has nothing at this address. See whether VAULT_ADDR and the namespace are right",
    405: "does not know this operation. See whether VAULT_ADDR leads to Vault, and the mount is a KV engine",
    413: (
        "finds the secret too large, and wrote nothing. Use a secret of its own for the key, or raise the limit: "
        "max_entry_size of Raft storage, max_request_size of the listener"
    ),
}


def is_redirect(status: int) -> bool:
    """Tell whether `status` sends us elsewhere."""
    return 300 <= status < 400


def unexpected(server: str, status: int, location: str = "") -> DestinationError:
    """Return the error for a status that is no success; `location` is where a redirect leads to."""
    if is_redirect(status):
        return _redirected(server, location)
    if status in _PASSING or status >= 500:
        reason = _PASSING.get(status, f"failed ({status}). Try again; if that does not help, see its log")
        return DestinationError(f"{server} {reason}.", permanent=False)
    reason = _LASTING.get(status, f"refuses ({status}). See whether VAULT_ADDR leads to Vault")
    return DestinationError(f"{server} {reason}.", permanent=True)


def _redirected(server: str, location: str) -> DestinationError:
    # The host alone: the rest is written by whoever answers.
    try:
        found = urlsplit(location)
        host = found.netloc.rpartition("@")[2] if found.scheme in ("http", "https") else ""
    except ValueError:
        host = ""
    where = f" to {found.scheme}://{host}" if _HOST.fullmatch(host) else ""
    way_out = f"Set VAULT_ADDR{where}" if where else "Set VAULT_ADDR to the address of the active Vault itself"
    return DestinationError(
        f"{server} sends us elsewhere, and a key does not follow. {way_out}, if you trust it.", permanent=True
    )
