"""The file of one operation: found, held by lock and descriptor, replaced, and proven."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mushu.destination import DestinationError, Holding
from mushu_dotenv import safety
from mushu_dotenv.document import Document
from mushu_dotenv.faults import refusal, shown, unproven
from mushu_dotenv.folder import Folder, folder_of
from mushu_dotenv.lock import exclusive
from mushu_dotenv.ownership import refuse_led_astray
from mushu_dotenv.storage import Snapshot, discard, replace, snapshot, sweep
from mushu_dotenv.uri import Address


@dataclass(frozen=True, slots=True)
class Site:
    """Where the file of an address really is, and what it was when the operation began."""

    address: Address
    folder: Folder
    name: str
    former: Snapshot | None

    @property
    def document(self) -> Document:
        """The content of the file, empty if there is none."""
        return Document(b"") if self.former is None else self.former.document

    @property
    def holding(self) -> Holding:
        """What the variable is."""
        return self.document.holding(self.address.variable)

    def refuse_unchangeable(self) -> None:
        """Raise if one binding could not be changed such that all else stays as it is."""
        safety.refuse_unchangeable_folder(self.folder)
        if self.former is not None:
            safety.refuse_unchangeable(
                self.address.path, self.former.status, self.former.document, self.address.variable
            )

    def refuse_exposed(self) -> None:
        """Raise if a key in this file would not stay secret."""
        status = None if self.former is None else self.former.status
        safety.refuse_exposed(self.address.path, self.folder, self.name, status)

    def refuse_unplaceable(self) -> None:
        """Raise if some program that can read the file would not read the variable from it."""
        hindrance = self.document.hindrance(self.address.variable)
        if hindrance is not None:
            raise refusal(self.address.path, hindrance.sentences)

    def store(self, document: Document, digest: str | None) -> None:
        """Make `document` the content of the file, and prove that the variable has `digest`, and all else is as before.

        Raises:
            DestinationError: permanent or not, nothing was written; or not permanent, and it was but is not proven.
        """
        path = self.address.path
        if not self._proves(document, digest):
            raise DestinationError(
                f"{shown(path)} is written in a way that leaves no safe place for {self.address.variable}. "
                f"Nothing was written; put a line `{self.address.variable}=` at its end, and try again.",
                permanent=True,
            )
        replace(self.folder, self.name, path, self.former, document)
        with unproven(path):
            self.folder.sync()
            now = snapshot(self.folder, self.name, path)
            if now is None or not now.document.loads_as(document):
                raise DestinationError("It was changed by another program right afterwards.", permanent=False)

    def remove_file(self) -> None:
        """Remove the file, if it is still as it was when the operation began."""
        if self.former is not None:
            discard(self.folder, self.name, self.address.path, self.former)
            with unproven(self.address.path):
                self.folder.sync()

    def _proves(self, document: Document, digest: str | None) -> bool:
        variable = self.address.variable
        return (
            document.fault is None
            and document.holding(variable).digest == digest
            and document.differs_only_in(variable, self.document)
        )


@contextmanager
def visited(address: Address) -> Iterator[Site]:
    """Yield the site of `address`, to look at it.

    Raises:
        MissingFolderError: there is no folder, so nothing is held.
        DestinationError: what is there cannot be read or understood.
    """
    with folder_of(address.path) as (folder, name):
        former = snapshot(folder, name, address.path)
        if former is not None:
            safety.refuse_misunderstood(address.path, former.document)
        yield Site(address, folder, name, former)


@contextmanager
def locked(address: Address, timeout: float) -> Iterator[Site]:
    """Yield the site of `address`, to change it: no other Mushu does so at the same time.

    Raises:
        DestinationError: as `visited`; it may not be changed; or the lock was not to be had within `timeout` seconds.
    """
    with folder_of(address.path) as (folder, name):
        safety.refuse_unchangeable_folder(folder)
        refuse_led_astray(address.path, folder, folder.status_of(name))
        with exclusive(folder, timeout):
            sweep(folder)
            # Looked up again: while we waited, the path may have come to lead elsewhere.
            with visited(address) as site:
                if site.name != name or not site.folder.is_same(folder):
                    raise DestinationError(
                        f"{shown(address.path)} was made to lead to another file at this very moment. Try again.",
                        permanent=False,
                    )
                site.refuse_unchangeable()
                yield site
