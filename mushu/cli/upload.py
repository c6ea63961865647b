"""A file on its way to the server: announced, sent to the address that the server signs, confirmed."""

import mimetypes
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from mushu.cli.answers import Answer, id_of, text_of
from mushu.cli.faults import Failure, Unreachable
from mushu.cli.progress import progress
from mushu.secret import Secret

if TYPE_CHECKING:
    from mushu.cli.sides import Side
    from mushu.cli.transfer import Depot

#: What the tables of an older Python or of the machine may not know.
_TYPES: Final = {
    ".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif", ".m4a": "audio/mp4", ".m4v": "video/x-m4v",
    ".mov": "video/quicktime", ".mp4": "video/mp4", ".webm": "video/webm", ".webp": "image/webp",
}  # fmt: skip
_UNKNOWN: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine, open, as it was when it was opened."""

    path: Path
    opened: IO[bytes]
    size: int
    content_type: str

    @property
    def announcement(self) -> dict[str, Any]:
        return {"filename": self.path.name, "content_type": self.content_type, "size_bytes": self.size}


def open_local(path: Path, content_type: str | None) -> LocalFile:
    """Open the file that is to be sent.

    Args:
        content_type: what it is; None guesses by its name.

    Raises:
        UsageError: it cannot be read, is no file, or is empty.
    """
    try:
        # O_NONBLOCK: a named pipe must not make mushu wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}.", param_hint="'FILE'") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        os.close(descriptor)
        why = "is empty" if stat.S_ISREG(status.st_mode) else "is no file"
        raise click.BadParameter(f"{path} {why}.", param_hint="'FILE'")
    opened = os.fdopen(descriptor, "rb")
    return LocalFile(path, opened, status.st_size, content_type or guessed_type(path))


def guessed_type(path: Path) -> str:
    """Return the media type that the name of a file speaks for."""
    return _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or _UNKNOWN


def announce(side: "Side", file: LocalFile, about: dict[str, Any]) -> Answer:
    """Tell the server what will come, and return where to.

    Args:
        about: whose it is: organization, tenant.

    Raises:
        Failure: it is not taken, as where it is too large; nothing was sent.
    """
    return side.post_once("media", "upload-url", body=about | file.announcement)


def upload(side: "Side", depot: "Depot", file: LocalFile, announced: Answer) -> Answer:
    """Send the file, and return what the server says of it once it is there.

    Raises:
        Failure: it is not there, or nobody confirmed it; the sentence says what to do.
    """
    media_id, address = id_of(announced, "media_id"), text_of(announced, "upload_url")
    try:
        with progress(file.path.name, file.size) as moved:
            depot.send(address, file.opened, file.size, file.content_type, moved)
    except Failure as failure:
        raise Failure(f"{failure.message} Nothing was stored: run the command again.") from None
    return confirm(side, media_id)


def confirm(side: "Side", media_id: str) -> Answer:
    """Have the server look at the file that has arrived, and answer for it.

    Raises:
        Failure: it is not what was announced, or no answer came.
    """
    try:
        return shown(side.post_once("media", media_id, "confirm", body={}))
    except Unreachable as failure:
        raise Unreachable(f"{failure.message} The file has arrived: `mushu media confirm {media_id}`.") from None


def shown(answer: Answer) -> Answer:
    """Return an answer as it is printed: the `key` of a file is its place in the storage, and no secret."""
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in answer.items()}
