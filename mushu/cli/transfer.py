"""The bytes of a file, to the address that the server signed for it, or from one.

The address may be that of another machine, such as a bucket, and it is its own proof: none of our credentials goes
along, nothing is followed elsewhere, and TLS is verified as everywhere. Files are streamed, never whole in memory.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import httpx

from mushu.address import is_loopback, normalized
from mushu.cli.answers import parsed
from mushu.cli.faults import Failure, Refused, Unreachable, misunderstood
from mushu.cli.network import unreachable
from mushu.cli.place import Place, no_way_in_the_clear
from mushu.cli.tls import trusting

_CHUNK: Final = 1 << 18
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_STORED: Final = (200, 201, 204)
_OK: Final = 200
_LARGEST_REFUSAL: Final = 1 << 16

Moved = Callable[[int], None]


class Depot:
    """Takes files to signed addresses, and fetches them from there."""

    def __init__(self, place: Place, *, insecure: bool) -> None:
        self._place = place
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
        no_way_in_the_clear(origin, insecure=self._insecure, what="the file")
        return origin

    def _client(self, origin: str) -> httpx.Client:
        # --ca speaks of the server. Another machine is verified as any other: by the system, or SSL_CERT_FILE.
        own = urlsplit(self._place.url)
        ca = self._place.ca if origin == normalized(f"{own.scheme}://{own.netloc}") else None
        return httpx.Client(
            verify=trusting(origin, ca),
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
