"""The address of one variable in one file, `env:PATH#VARIABLE`: parsed and spelled without touching anything.

Nothing of a refused URI is repeated: a person who mixes up two arguments may have pasted a key into it.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mushu.destination import DEFAULT_FIELD, DestinationError

SCHEME: Final = "env"

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Any prefix that begins as Mushu's do, also one to come; shorter than a whole credential, to catch a cut paste.
_CREDENTIAL: Final = re.compile(rb"m[a-z]{2}_(?:live_|test_)?[0-9A-Za-z]{20,}")
# Any single byte of a percent-encoded URI can be a file name's; these have a meaning of their own, or hide in a line.
_RESERVED: Final = frozenset("%#? ")


@dataclass(frozen=True, slots=True)
class EnvAddress:
    """One variable in one file."""

    #: Absolute and free of `.` and `..`; undecodable bytes of a file name as `os.fsdecode` gives them.
    path: str
    variable: str

    @property
    def uri(self) -> str:
        """The canonical spelling: printable, and parsed to this very address anywhere on the machine."""
        return f"{SCHEME}:{''.join(map(_encoded, self.path))}#{self.variable}"


def parse_address(uri: str, base: Path) -> EnvAddress | None:
    """Return the address that `uri` names, relative paths resolved against `base`; None when the scheme is another.

    Raises:
        DestinationError: the scheme is `env` and the rest cannot be used; permanent.
    """
    if not uri.startswith(f"{SCHEME}:"):
        return None
    located, separator, variable = uri.removeprefix(f"{SCHEME}:").partition("#")
    if not separator:
        variable = DEFAULT_FIELD
    if _VARIABLE.fullmatch(variable) is None:
        raise _refusal(
            "What follows # must be the name of a variable (letters, digits and _, not beginning with a digit). "
            "A # that belongs to the path is written %23"
        )
    return EnvAddress(_absolute(_decoded(located), base), variable)


def holds_credential(uri: str) -> bool:
    """Tell whether something shaped like a credential of Mushu stands in `uri`, percent-encoded or not."""
    return _CREDENTIAL.search(unquote_to_bytes(uri.encode("utf-8", "surrogatepass"))) is not None


def credential_refusal() -> DestinationError:
    """Return the error for a URI that holds a credential."""
    return _refusal(
        "There is something in it that looks like a key. If it is one, it has been shown: delete that key. "
        "A destination names only the file and the variable"
    )


def _decoded(located: str) -> str:
    """Return the path that the percent-encoded `located` stands for."""
    if "?" in located:
        raise _refusal("It takes no query. A question mark that belongs to the path is written %3F")
    if _BROKEN_ESCAPE.search(located):
        raise _refusal("A % must be followed by two hexadecimal digits. A % that belongs to the path is written %25")
    with suppress(UnicodeError):
        return os.fsdecode(unquote_to_bytes(os.fsencode(located)))
    raise _refusal("The path holds characters that no file name of this machine can have")


def _absolute(path: str, base: Path) -> str:
    """Return `path` below `base`, without `.` and `..`, which are resolved by their letters alone."""
    if not path:
        raise _refusal("It names no file")
    if path.startswith("//"):
        raise _refusal("It begins with //, but there is no host in it. Write the path with one slash")
    if path.startswith("~"):
        raise _refusal("A leading ~ is not expanded. Write the full path")
    if "\0" in path:
        raise _refusal("There is a NUL in the path")
    if path.rpartition("/")[2] in ("", ".", ".."):
        raise _refusal("It names a folder. Write the name of the file at the end")
    absolute = os.path.normpath(os.path.join(base, path))  # noqa: PTH118 - pathlib would keep the `..`
    if not absolute.startswith("/"):
        raise _refusal("The path is relative, and so is the folder that it should be resolved against")
    # POSIX keeps two leading slashes apart from one; on the machines this runs on they mean the same.
    return "/" + absolute.lstrip("/")


def _encoded(letter: str) -> str:
    return letter if letter.isprintable() and letter not in _RESERVED else quote_from_bytes(os.fsencode(letter))


def _refusal(reason: str) -> DestinationError:
    return DestinationError(
        f"This env: URI cannot be used. {reason}; for example {SCHEME}:/srv/app/.env#{DEFAULT_FIELD}.", permanent=True
    )
