"""A destination as small as it can be and still keep every promise: the fields of one JSON file."""

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from unittest.mock import patch

from mushu.destination import (
    Attempt,
    Conflict,
    Destination,
    DestinationError,
    Holding,
    Receipt,
    Secret,
    Surroundings,
    digest_of,
)
from mushu.testing import Place


class Shoebox(Destination):
    scheme: ClassVar[str] = "shoebox"

    def __init__(self, path: str, field: str) -> None:
        self.path, self.field = path, field

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        if not uri.startswith("shoebox:"):
            return None
        found = re.fullmatch(r"shoebox:(/[^#]+)#([A-Za-z_]{1,9})", uri)
        del uri
        if found is None:
            raise DestinationError("Write shoebox:/path#field.", permanent=True)
        return cls(found.group(1), found.group(2))

    @property
    def uri(self) -> str:
        return f"shoebox:{self.path}#{self.field}"

    def beside(self, name: str) -> Self:
        return type(self)(self.path, name)

    def preflight(self) -> None:
        self._load()

    def read(self) -> Holding:
        return self.holding(self._load())

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        with self.locked():
            held = self.read()
            if not secret.matches(held.digest):
                if held.version != attempt.expected_version:
                    raise Conflict("The shoebox holds something else.")
                undo = Secret(json.dumps(self._load().get(self.field)))
                self.change(secret)
                return Receipt(secret.digest(), secret.digest(), undo)
            return Receipt(held.version, secret.digest())

    def restore(self, receipt: Receipt) -> bool:
        with self.locked():
            if self.read().digest != receipt.digest or receipt.undo is None:
                return False
            self.change(self._former(receipt.undo))
            return True

    def remove(self, digest: str) -> bool:
        with self.locked():
            if self.read().digest != digest:
                return False
            self.change(None)
            return True

    def change(self, secret: Secret | None) -> None:
        """Replace the file as a whole."""
        temporary = Path(f"{self.path}.tmp")
        temporary.write_text(self.changed(secret).reveal())
        temporary.replace(self.path)

    def changed(self, secret: Secret | None) -> Secret:
        content = self._load()
        content.pop(self.field, None)
        if secret is not None:
            content[self.field] = secret.reveal()
        return Secret(json.dumps(content))

    def holding(self, content: dict[str, str]) -> Holding:
        value = content.get(self.field)
        return Holding("absent", None) if not value else Holding(digest_of(value), digest_of(value))

    @contextmanager
    def locked(self) -> Iterator[None]:
        with Path(f"{self.path}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self) -> dict[str, str]:
        path = Path(self.path)
        loaded: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return loaded

    def _former(self, undo: Secret) -> Secret | None:
        value: Any = json.loads(undo.reveal())
        return None if value is None else Secret(value)


class ShoeboxPlace(Place):
    """A folder with one such file; `kind` is the class under test."""

    def __init__(self, folder: Path, kind: type[Shoebox]) -> None:
        folder.mkdir()
        self._path = folder / "box.json"
        self._kind = kind

    def destination(self) -> Shoebox:
        destination = self._kind.parse(f"shoebox:{self._path}#key", Surroundings(Path("/")))
        assert destination is not None
        return destination

    def hold(self, value: Secret) -> None:
        self._put({**self._content(), "key": value.reveal()})

    def stored(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self._path.parent.iterdir()))

    def add_neighbours(self) -> None:
        self._put({**self._content(), "a": "1", "keys": "2"})

    def neighbours(self) -> object:
        return {name: value for name, value in self._content().items() if name != "key"}

    @contextmanager
    def lose_next_answer(self) -> Iterator[None]:
        def write_and_lose(box: Shoebox, secret: Secret, attempt: Attempt) -> Receipt:
            real(box, secret, attempt)
            raise DestinationError("The answer was lost.", permanent=False)

        real = self._kind.write
        with patch.object(self._kind, "write", write_and_lose):
            yield

    def _content(self) -> dict[str, str]:
        loaded: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return loaded

    def _put(self, content: dict[str, str]) -> None:
        self._path.write_text(json.dumps(content))
