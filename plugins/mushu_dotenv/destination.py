"""The contract, phase by phase: check, read, write, put back, remove.

Every other module of the plugin is a part of one phase.
"""

import hmac
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final, Self

from mushu.destination import (
    Attempt,
    Conflict,
    Destination,
    DestinationError,
    Holding,
    Location,
    Receipt,
    Secret,
    Surroundings,
)
from mushu_dotenv.document import ABSENT, FormerLine, unsealed
from mushu_dotenv.errors import MissingFolderError, refusal, shown
from mushu_dotenv.locking import timeout_from
from mushu_dotenv.permissions import commit_warning
from mushu_dotenv.rewriting import EnvFile, locked_file, opened_file
from mushu_dotenv.uri import SCHEME, EnvAddress, credential_refusal, holds_credential, parse_address

logger = logging.getLogger(__name__)

# What needs no quotes in any dialect of .env, so that nothing has to be escaped. A shell expands ~ where a value begins
# and behind a colon.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.+/=-][A-Za-z0-9_.~+/=-]*(?::[A-Za-z0-9_.+/=-][A-Za-z0-9_.~+/=-]*)*")

_MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_CONTAINER_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_MACHINE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def machine_from(settings: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Location:
    """Return the machine whose files a path names here: as it is called in the settings, or as the system knows it.

    machine-id(5) asks programs to show no more than a keyed hash of it. In a container it is that of an image, which
    many may share, or none; what tells containers apart is the name of the host.

    Raises:
        DestinationError: the name in the settings cannot be used; permanent.
    """
    host = os.uname().nodename
    named = settings.get("machine", "").strip()
    if named and _MACHINE_NAME.fullmatch(named) is None:
        raise DestinationError(
            "MUSHU_ENV_MACHINE must be a name of at most 64 letters, digits, dots, hyphens and underscores.",
            permanent=True,
        )
    directions = f"on {host}" if _MACHINE_NAME.fullmatch(host) else "on the machine where it was delivered"
    if named:
        return Location(f"machine {named}", f"{directions}, with MUSHU_ENV_MACHINE={named}")
    machine_id = next(filter(None, map(_first_line, _MACHINE_IDS)), "")
    contained = any(mark.exists() for mark in _CONTAINER_MARKS) or "KUBERNETES_SERVICE_HOST" in environ
    label = f"mushu env: {host if contained or not machine_id else ''}"
    return Location(f"machine {hmac.new(machine_id.encode(), label.encode(), 'sha256').hexdigest()[:16]}", directions)


def _first_line(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace").partition("\n")[0].strip()
    except OSError:
        return ""


class DotenvDestination(Destination):
    """One variable of one `.env` file."""

    scheme: ClassVar[str] = SCHEME
    known_settings: ClassVar[frozenset[str]] = frozenset({"machine", "timeout"})

    def __init__(self, address: EnvAddress, lock_timeout: float, machine: Location) -> None:
        self._address = address
        self._machine = machine
        self._lock_timeout = lock_timeout

    def __repr__(self) -> str:
        return f"<DotenvDestination {self.uri}>"

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        """Return the destination that `uri` names, or None when its scheme is another's."""
        if uri.startswith(f"{SCHEME}:") and holds_credential(uri):
            del uri  # or a traceback printed with locals shows it
            raise credential_refusal()
        address = parse_address(uri, surroundings.base)
        settings = surroundings.settings
        return None if address is None else cls(address, timeout_from(settings), machine_from(settings))

    @property
    def uri(self) -> str:
        """The canonical spelling."""
        return self._address.uri

    def beside(self, name: str) -> Self:
        """Return another variable of the same file."""
        return type(self)(replace(self._address, variable=name), self._lock_timeout, self._machine)

    def location(self) -> Location:
        """Return this machine."""
        return self._machine

    def preflight(self) -> None:
        """Run every check of a write but the one for a conflict; change nothing. Warn where git may take it."""
        with opened_file(self._address) as file:
            _refuse(file)
            warning = commit_warning(file.folder.path, file.name)
        if warning is not None:
            logger.warning(warning)

    def read(self) -> Holding:
        """Return what a program that loads the file with python-dotenv would get."""
        try:
            with opened_file(self._address) as file:
                return file.holding
        except MissingFolderError:
            return ABSENT

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        """Replace the value, fill the placeholder or append a line, in this order of preference."""
        # 1. What can be refused is refused before a lock file is made.
        if _PLAIN.fullmatch(secret.reveal()) is None:
            raise refusal(
                self._address.path,
                "is not given a value that needs quotes or escapes: only A-Z a-z 0-9 _ . ~ : + / = -",
            )
        with opened_file(self._address) as file:
            _refuse(file)
        with locked_file(self._address, self._lock_timeout) as file:
            file.refuse_exposed()
            # 2. Compare.
            if secret.matches(file.holding.digest):
                return Receipt(file.holding.version, secret.digest())
            if file.holding.version != attempt.expected_version:
                raise Conflict(
                    f"{self._address.variable} in {shown(self._address.path)} is no longer what it was when it was "
                    "looked at. Nothing was written; see who else sets it, then try again."
                )
            # 3. Set, and prove it.
            file.refuse_unplaceable()
            document, undo = file.document.with_value(self._address.variable, secret)
            memory = FormerLine(undo, made_file=file.former is None)
            file.store(document, secret.digest())
            return Receipt(document.holding(self._address.variable).version, secret.digest(), memory.sealed())

    def restore(self, receipt: Receipt) -> bool:
        """Undo one write and keep what others did to the file since."""
        if self.read().digest != receipt.digest:
            return False
        if receipt.undo is None:
            raise refusal(
                self._address.path, "held this key before the write of this receipt, so there is nothing to go back to"
            )
        memory = unsealed(receipt.undo)
        with locked_file(self._address, self._lock_timeout) as file:
            if file.holding.digest != receipt.digest:
                return False
            document = file.document.undone(self._address.variable, memory.undo)
            if document is None:
                raise refusal(self._address.path, "has had its line rewritten since. Put the former value back by hand")
            if memory.made_file and not document.data:
                file.remove_file()
            else:
                file.store(document, document.holding(self._address.variable).digest)
            return True

    def remove(self, digest: str) -> bool:
        """Delete the line if it holds the key, and leave a file without it, even an empty one."""
        # Looked at first without a lock, so that nothing is made where there is nothing to remove.
        if self.read().digest != digest:
            return False
        with locked_file(self._address, self._lock_timeout) as file:
            if file.holding.digest != digest:
                return False
            file.store(file.document.without(self._address.variable), None)
            return True


def _refuse(file: EnvFile) -> None:
    """Raise if a key may not be put into this file as it is."""
    file.refuse_unchangeable()
    file.refuse_exposed()
    file.refuse_unplaceable()
