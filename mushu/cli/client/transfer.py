"""A file on its way to the server and back: announced, moved to or from a signed address, confirmed.

The address may be that of another machine, such as a bucket, and it is its own proof: none of our credentials goes
along, nothing is followed elsewhere, and TLS is verified as everywhere. Files are streamed, never whole in memory.
"""

import mimetypes
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import click
import httpx

from mushu.address import is_loopback, normalized
from mushu.cli.answers import Answer, id_of, parsed, text_of
from mushu.cli.client.api import refuse_plain_http
from mushu.cli.client.connection import ServerAddress, tls_context, unreachable
from mushu.cli.client.environments import EnvironmentApi
from mushu.cli.errors import Failure, Refused, Unreachable, misunderstood
from mushu.cli.output import progress
from mushu.ownership import UNWAITING
from mushu.secret import Secret

#: What the tables of an older Python or of the machine may not know.
_TYPES: Final = {
    ".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif", ".m4a": "audio/mp4", ".m4v": "video/x-m4v",
    ".mov": "video/quicktime", ".mp4": "video/mp4", ".webm": "video/webm", ".webp": "image/webp",
}  # fmt: skip
_UNKNOWN: Final = "application/octet-stream"
_CHUNK: Final = 1 << 18
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_STORED: Final = (200, 201, 204)
_OK: Final = 200
_LARGEST_REFUSAL: Final = 1 << 16

Moved = Callable[[int], None]


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
        descriptor = os.open(path, os.O_RDONLY | UNWAITING)
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


class FileTransfer:
    """Takes files to signed addresses, and fetches them from there."""

    def __init__(self, server: ServerAddress, *, insecure: bool) -> None:
        self._server = server
        self._insecure = insecure

    def send(self, address: str, file: IO[bytes], size: int, content_type: str, moved: Moved) -> None:
        """Put `size` bytes of the file there.

        Raises:
            Unreachable: it broke off.
            Refused: the storage does not take it.
        """
        headers = {"Content-Type": content_type, "Content-Length": str(size), "User-Agent": "mushu-cli"}
        self._exchange("PUT", address, headers, _chunks(file, size, moved), _STORED, None)

    def fetch(self, address: str, file: IO[bytes], moved: Moved) -> None:
        """Write what is there to the file.

        Raises:
            Unreachable: it broke off.
            Refused: the storage does not give it.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": "mushu-cli"}

        def write(chunk: bytes) -> None:
            file.write(chunk)
            moved(len(chunk))

        self._exchange("GET", address, headers, None, (_OK,), write)

    def _exchange(
        self,
        method: str,
        address: str,
        headers: dict[str, str],
        content: Iterator[bytes] | None,
        good: tuple[int, ...],
        write: Callable[[bytes], None] | None,
    ) -> None:
        origin = self._checked(address)
        fault: Failure
        try:
            with (
                self._client(origin) as client,
                client.stream(method, address, headers=headers, content=content) as response,
            ):
                if response.status_code not in good:
                    raise _refused(response)
                for chunk in response.iter_raw(_CHUNK):
                    if write is not None:
                        write(chunk)
        except Failure as failure:
            fault = failure.with_traceback(None)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fault = Unreachable(f"The file moves between here and {origin}. {unreachable(error, origin).message}")
        else:
            return
        raise fault  # here, where it carries no trace of the signed address

    def _checked(self, address: str) -> str:
        """Return scheme and host of a signed address.

        Raises:
            WrongAnswer: it is no address of the web.
            Failure: everybody on the way could read the file.
        """
        try:
            parts = urlsplit(address)
            origin = normalized(f"{parts.scheme}://{parts.netloc}")
        except ValueError:
            raise misunderstood("the address of the file is none") from None
        refuse_plain_http(origin, insecure=self._insecure, what="the file")
        return origin

    def _client(self, origin: str) -> httpx.Client:
        # --ca speaks of the server. Another machine is verified as any other: by the system, or SSL_CERT_FILE.
        own = urlsplit(self._server.url)
        ca = self._server.ca if origin == normalized(f"{own.scheme}://{own.netloc}") else None
        return httpx.Client(
            verify=tls_context(origin, ca),
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=not is_loopback(origin),
        )


def _chunks(file: IO[bytes], size: int, moved: Moved) -> Iterator[bytes]:
    left = size
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise Failure("The file became shorter while it was sent. Send it again when nobody writes to it.")
        left -= len(chunk)
        yield chunk
        moved(len(chunk))


def _refused(response: httpx.Response) -> Failure:
    """Return the failure for a refusal of a storage: in its own words, where they are ours."""
    raw = bytearray()
    for chunk in response.iter_raw(_CHUNK):
        raw += chunk
        if len(raw) > _LARGEST_REFUSAL:
            break
    document = parsed(bytes(raw)) or {}
    detail, code = document.get("detail"), document.get("code")
    sentence = f"The storage refused (HTTP {response.status_code})."
    if isinstance(detail, str) and isinstance(code, str) and detail:
        sentence = detail[:1_000]
    if response.is_server_error:
        return Unreachable(sentence)
    return Refused(sentence, response.status_code, code if isinstance(code, str) else "refused")


def open_new(path: Path, *, overwrite: bool) -> IO[bytes]:
    """Open a new file beside `path`, for `keep` when it is whole, or else for `drop`.

    Raises:
        Failure: there is a file already, or none can be written there.
    """
    if path.exists() and not overwrite:
        raise Failure(f"{path} is there already. Name another with --output, or replace it with --force.")
    try:
        return (path.parent / f".{path.name[:100]}.{os.urandom(8).hex()}").open("xb")
    except OSError as error:
        raise Failure(f"{path} cannot be written ({error.strerror}). Name another with --output.") from None


def keep(file: IO[bytes], path: Path) -> None:
    """Put the new file, which is whole, where it belongs."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    Path(file.name).replace(path)


def drop(file: IO[bytes]) -> None:
    """Remove a file that did not become whole."""
    file.close()
    Path(file.name).unlink(missing_ok=True)


def announce(api: EnvironmentApi, file: LocalFile, about: dict[str, Any]) -> Answer:
    """Tell the server what will come, and return where to.

    Args:
        about: whose it is: organization, tenant.

    Raises:
        Failure: it is not taken, as where it is too large; nothing was sent.
    """
    return api.post_idempotent("media", "upload-url", body=about | file.announcement)


def upload(api: EnvironmentApi, transfer: FileTransfer, file: LocalFile, announced: Answer) -> Answer:
    """Send the file, and return what the server says of it once it is there.

    Raises:
        Failure: it is not there, or nobody confirmed it; the sentence says what to do.
    """
    media_id, address = id_of(announced, "media_id"), text_of(announced, "upload_url")
    try:
        with progress(file.path.name, file.size) as moved:
            transfer.send(address, file.opened, file.size, file.content_type, moved)
    except Failure as failure:
        raise Failure(f"{failure.message} Nothing was stored: run the command again.") from None
    return confirm(api, media_id)


def confirm(api: EnvironmentApi, media_id: str) -> Answer:
    """Have the server look at the file that has arrived, and answer for it.

    Raises:
        Failure: it is not what was announced, or no answer came.
    """
    try:
        return shown(api.post_idempotent("media", media_id, "confirm", body={}))
    except Unreachable as failure:
        raise Unreachable(f"{failure.message} The file has arrived: `mushu media confirm {media_id}`.") from None


def shown(answer: Answer) -> Answer:
    """Return an answer as it is printed: the `key` of a file is its place in the storage, and no secret."""
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in answer.items()}
