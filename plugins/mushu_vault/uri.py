"""The address of one field of one secret, `vault:MOUNT/PATH?namespace=NAMESPACE#FIELD`: parsed and spelled, no more.

Nothing of a refused URI is repeated: a person who mixes up two arguments may have pasted a key into it.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from mushu.destination import DEFAULT_FIELD, DestinationError

SCHEME: Final = "vault"

# An option where none is read: it would become a part of a name, and the key go to another namespace than was meant.
_STRAY_OPTION: Final = re.compile(r"[?&]\w+=")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What begins as Mushu's credentials do, also ones to come, shorter than a whole one to catch a cut paste; and tokens of
# Vault: service, batch and recovery, in their old form and their new one.
_CREDENTIAL: Final = re.compile(rb"m[a-z]{2}_(?:live_|test_)?[0-9A-Za-z]{20,}|\b(?:hv[sbr]|[sbr])\.[0-9A-Za-z_-]{24,}")
# Printable, and with a meaning of their own in a URI.
_RESERVED: Final = frozenset("%#?& ")


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """One field of one secret."""

    #: Mount and path below it; which part is the mount, only the server knows.
    path: str
    field: str
    #: None for the one that the surroundings name.
    namespace: str | None = None

    @property
    def uri(self) -> str:
        """The canonical spelling: printable, and parsed to this very address anywhere."""
        query = "" if self.namespace is None else f"?namespace={_encoded(self.namespace)}"
        return f"{SCHEME}:{_encoded(self.path)}{query}#{_encoded(self.field)}"


def parse_address(uri: str) -> VaultAddress | None:
    """Return the address that `uri` names, or None when its scheme is another's.

    Raises:
        DestinationError: the scheme is `vault` and the rest cannot be used; permanent.
    """
    scheme, colon, rest = uri.partition(":")
    if scheme != SCHEME or not colon:
        return None
    located, separator, fragment = rest.partition("#")
    path, _, query = located.partition("?")
    if _STRAY_OPTION.search(path) or _STRAY_OPTION.search(fragment):
        raise _refusal(
            "An option stands right after the path, begins with ?, and ends before the #. In names, ? is written %3F "
            "and & is written %26"
        )
    field = _decoded(fragment) if separator else DEFAULT_FIELD
    if not field:
        raise _refusal("Nothing stands after #, where the name of the field belongs")
    return VaultAddress(_path(_decoded(path)), field, _namespace(query) if "?" in located else None)


def holds_credential(uri: str) -> bool:
    """Tell whether something shaped like a credential stands in `uri`, percent-encoded or not."""
    return _CREDENTIAL.search(unquote_to_bytes(uri.encode("utf-8", "surrogatepass"))) is not None


def credential_refusal() -> DestinationError:
    """Return the error for a URI that holds a credential."""
    return _refusal(
        "There is something in it that looks like a key or a token. If it is one, it has been shown: revoke it. "
        "A destination names only the secret and the field"
    )


def encoded_path(path: str) -> str:
    """Return `path` as it stands in an address of HTTP."""
    return quote(path, safe="/")


def _path(path: str) -> str:
    if not path:
        raise _refusal("It names no secret")
    if path.startswith("//"):
        raise _refusal("There is no host in it; the server is named by VAULT_ADDR. Begin with the mount")
    if path.startswith("/"):
        raise _refusal("It begins with a slash. Begin with the mount")
    if path.endswith("/"):
        raise _refusal("It ends with a slash, as folders do. Write the name of the secret at the end")
    _refuse_odd_segments(path)
    if "/" not in path:
        raise _refusal("It names a mount alone. Write the path of the secret after it")
    return path


def _namespace(query: str) -> str:
    name, _, value = query.partition("=")
    if name != "namespace" or "&" in value:
        raise _refusal(
            "What follows ? can only be namespace=NAME, once. A question mark of the path is written %3F, an & %26"
        )
    namespace = _decoded(value).strip("/")
    if not namespace:
        raise _refusal("Nothing stands after namespace=. The uppermost one is called root")
    _refuse_odd_segments(namespace)
    return namespace


def _refuse_odd_segments(path: str) -> None:
    """Raise for what servers, proxies and policies take to mean something else than it says."""
    if not path.isprintable():
        raise _refusal("There is a control character in it")
    segments = path.split("/")
    if not {"", ".", ".."}.isdisjoint(segments):
        raise _refusal("Between two slashes there is nothing, or a . or .. that would be taken for a way up")
    if "+" in segments or "*" in path:
        raise _refusal("In policies + and * mean `anything`, so no policy could allow this secret alone. Rename it")
    if "{{" in path or "}}" in path:
        raise _refusal("In policies {{ and }} enclose a template, so no policy could allow this secret. Rename it")


def _decoded(text: str) -> str:
    """Return what the percent-encoded `text` stands for."""
    if _BROKEN_ESCAPE.search(text):
        raise _refusal("A % must be followed by two hexadecimal digits. A % that belongs to a name is written %25")
    try:
        decoded = unquote_to_bytes(text.encode()).decode()
    except UnicodeError:
        decoded = None
    if decoded is None:
        raise _refusal("It holds bytes that are no UTF-8, which neither Vault nor JSON can name")
    return decoded


def _encoded(text: str) -> str:
    return "".join(
        letter if letter.isprintable() and letter not in _RESERVED else quote(letter, safe="") for letter in text
    )


def _refusal(reason: str) -> DestinationError:
    return DestinationError(
        f"This vault: URI cannot be used. {reason}; for example {SCHEME}:secret/apps/backend#{DEFAULT_FIELD}.",
        permanent=True,
    )
