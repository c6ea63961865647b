"""A destination that obeys a script: values in memory, by URI, and a fault for each call that should have one."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

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
    digest_of,
)

#: Is called in the place of a method, with the plaintext at hand and the true action; answers or raises.
Fault = Callable[[str, Callable[[], Any]], Any]


@dataclass(repr=False)
class Shelf:
    """The store behind every `fake:` URI, the script, and a record of what was done to it."""

    values: dict[str, str] = field(default_factory=dict)
    #: Only ever grows, as in a store that numbers its versions.
    versions: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    former: dict[str, Holding] = field(default_factory=dict)
    script: dict[tuple[str, str], list[Fault]] = field(default_factory=lambda: defaultdict(list))
    unreachable: set[str] = field(default_factory=set)
    #: Where every URI leads to.
    location: str = ""
    calls: list[str] = field(default_factory=list)
    #: Plaintext of every key that was to be written, to search for.
    seen: set[str] = field(default_factory=set)
    #: What was answered by `read`, as URI and digest.
    proven: set[tuple[str, str | None]] = field(default_factory=set)
    #: Called before each call, and before a value makes way for another or for none.
    on_call: Callable[[str], None] = lambda call: None
    on_loss: Callable[[str, str], None] = lambda act, digest: None

    def open(self, uri: str) -> "FakeDestination":
        """The `open_destination` of couriers and reconcilers."""
        self.on_call(f"open {uri}")
        destination = FakeDestination.of(self, uri)
        if destination is None:
            raise DestinationError("No destination plugin takes this URI.", permanent=True)
        return destination

    def plan(self, call: str, *faults: Fault) -> None:
        """Let the next calls, such as `write fake:a`, meet these faults, one each."""
        method, uri = call.split(" ")
        self.script[method, uri].extend(faults)

    def digest_at(self, uri: str) -> str | None:
        return digest_of(self.values[uri]) if uri in self.values else None

    def put(self, act: str, uri: str, value: str | None) -> None:
        """Change what is held, as all that changes it does in the end."""
        self.former[uri] = self.holding(uri)
        if uri in self.values and self.values[uri] != value:
            self.on_loss(act, digest_of(self.values[uri]))
        if value is None:
            self.values.pop(uri, None)
        else:
            self.values[uri] = value
        self.versions[uri] += 1

    def holding(self, uri: str) -> Holding:
        return Holding(f"v{self.versions[uri]}", self.digest_at(uri))

    def did(self, method: str) -> list[str]:
        """Return the URIs at which `method` was called, in order."""
        return [call.partition(" ")[2] for call in self.calls if call.startswith(f"{method} ")]


@dataclass(frozen=True, repr=False)
class FakeDestination(Destination):
    shelf: Shelf
    name: str

    scheme: ClassVar[str] = "fake"

    @classmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        raise NotImplementedError

    @classmethod
    def of(cls, shelf: Shelf, uri: str) -> Self | None:
        scheme, _, name = uri.partition(":")
        if scheme != cls.scheme:
            return None
        if not name:
            raise DestinationError("A fake: URI needs a name.", permanent=True)
        return cls(shelf, name.rstrip("/"))  # as two spellings of one place

    @property
    def uri(self) -> str:
        return f"fake:{self.name}"

    def location(self) -> Location:
        faults = self.shelf.script["location", self.uri]
        return faults.pop(0)("", Location) if faults else Location(self.shelf.location)

    def preflight(self) -> None:
        self._do("preflight", "", lambda: None)

    def read(self) -> Holding:
        holding: Holding = self._do("read", self.shelf.values.get(self.uri, ""), lambda: self.shelf.holding(self.uri))
        self.shelf.proven.add((self.uri, holding.digest))
        return holding

    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        self.shelf.seen.add(secret.reveal())
        receipt: Receipt = self._do("write", secret.reveal(), lambda: self._write(secret, attempt))
        return receipt

    def _write(self, secret: Secret, attempt: Attempt) -> Receipt:
        holding = self.shelf.holding(self.uri)
        if secret.matches(holding.digest):
            return Receipt(holding.version, secret.digest())
        if holding.version != attempt.expected_version:
            raise Conflict(f"{self.uri} was changed meanwhile.")
        undo = Secret(self.shelf.values.get(self.uri, ""))
        self.shelf.put("write", self.uri, secret.reveal())
        return Receipt(self.shelf.holding(self.uri).version, secret.digest(), undo)

    def restore(self, receipt: Receipt) -> bool:
        done: bool = self._do("restore", self.shelf.values.get(self.uri, ""), lambda: self._restore(receipt))
        return done

    def _restore(self, receipt: Receipt) -> bool:
        if self.shelf.digest_at(self.uri) != receipt.digest:
            return False
        if receipt.undo is None:
            raise DestinationError("There is nothing to go back to.", permanent=True)
        self.shelf.put("restore", self.uri, receipt.undo.reveal() or None)
        return True

    def remove(self, digest: str) -> bool:
        done: bool = self._do("remove", self.shelf.values.get(self.uri, ""), lambda: self._remove(digest))
        return done

    def _remove(self, digest: str) -> bool:
        if self.shelf.digest_at(self.uri) != digest:
            return False
        self.shelf.put("remove", self.uri, None)
        return True

    def _do(self, method: str, plaintext: str, act: Callable[[], Any]) -> Any:
        call = f"{method} {self.uri}"
        self.shelf.calls.append(call)
        self.shelf.on_call(call)
        if self.uri in self.shelf.unreachable:
            raise DestinationError("It does not answer.", permanent=False)
        faults = self.shelf.script[method, self.uri]
        return faults.pop(0)(plaintext, act) if faults else act()


class Crash(BaseException):
    """The process is gone: nothing in the protocol may catch this."""


def fine(plaintext: str, act: Callable[[], Any]) -> Any:
    return act()


def refuse(plaintext: str, act: Callable[[], Any]) -> Any:
    raise DestinationError("It refuses for good.", permanent=True)


def fail(plaintext: str, act: Callable[[], Any]) -> Any:
    """Nothing was done, but who knows."""
    raise DestinationError("It timed out.", permanent=False)


def lose_answer(plaintext: str, act: Callable[[], Any]) -> Any:
    """It was done, and who knows."""
    act()
    raise DestinationError("It timed out.", permanent=False)


def crash(plaintext: str, act: Callable[[], Any]) -> Any:
    raise Crash


def crash_after(plaintext: str, act: Callable[[], Any]) -> Any:
    act()
    raise Crash


def lie(plaintext: str, act: Callable[[], Any]) -> Any:
    """Take the key, and lose it."""
    return Receipt("v-lie", digest_of(plaintext), Secret(""))


def answer_no(plaintext: str, act: Callable[[], Any]) -> Any:
    """Say that something else is held, whatever is."""
    return False


def stale(plaintext: str, act: Callable[[], Any]) -> Any:
    """Answer what was true before."""
    return Holding("v-stale", None)


def _deep(plaintext: str) -> None:
    shown = plaintext  # a local that a traceback with locals prints
    raise ValueError(f"cannot send {shown!r}", plaintext)


def leak_foreign(plaintext: str, act: Callable[[], Any]) -> Any:
    _deep(plaintext)


def leak_chained(plaintext: str, act: Callable[[], Any]) -> Any:
    """An error of the contract, carelessly raised: from what holds the key, under a name that shows it."""
    try:
        _deep(plaintext)
    except ValueError as error:
        raise DestinationError(f"It did not take {plaintext}.", permanent=True) from error


def before(*acts: Callable[[], object], fault: Fault = fine) -> Fault:
    """Let something else happen first, as if another process had been faster; then this, or a fault."""

    def late(plaintext: str, act: Callable[[], Any]) -> Any:
        for earlier in acts:
            earlier()
        return fault(plaintext, act)

    return late


def after(*acts: Callable[[], object], fault: Fault = fine) -> Fault:
    """Let something else happen right afterwards, before the answer, which may be an error, is heard."""

    def slow(plaintext: str, act: Callable[[], Any]) -> Any:
        answer = act()
        for later in acts:
            later()
        return fault(plaintext, lambda: answer)

    return slow
