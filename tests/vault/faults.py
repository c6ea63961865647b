"""What goes wrong on the way: faults that a test plans for requests to come."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal, get_args

from tests.vault.kept import Kept, Snapshot
from tests.vault.upstream import Answer, Asked, answered

Kind = Literal[
    "delay",  # wait `seconds`, then go on
    "hold",  # wait until the test sets `released`, then go on
    "cut-before",  # close the connection, nothing done
    "cut-after",  # do it, then close the connection: the answer is lost
    "error-before",  # `status` and `text`, nothing done
    "error-after",  # do it, then `status` and `text`
    "body-before",  # 200 and `body`, nothing done
    "body-after",  # do it, then 200 and `body`
    "redirect",  # 307 to `location`, nothing done
    "errors-in-200",  # 200, and in it a list of errors; nothing done
    "lost",  # do it, answer, and put back what was there, before anybody looks
    "stale",  # answer from what was there when the fault was planned, and keep nothing
    "rate-limit",  # 429 with Retry-After: `seconds`
    "invalid-json",  # do it, then half of the answer
    "huge",  # do it, then an answer of `size` bytes
    "html",  # do it, then a page for people, from some proxy
    "drip",  # the answer byte by byte, every `seconds`, for ever
    "call",  # call what the test gave, then go on
]


class Cut(Exception):
    """The connection ends here."""


@dataclass
class Fault:
    """One planned fault; it spares the first `skip` requests that match, and ends after `times` more."""

    kind: Kind
    method: str = "*"
    path: str = "*"
    times: int = 1
    skip: int = 0
    seconds: float = 0.0
    status: int = 500
    text: str = "internal error"
    location: str = ""
    size: int = 64 * 1024 * 1024
    body: bytes = b""
    action: Callable[[], object] | None = None
    hits: int = 0
    kept: Snapshot = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"There is no fault {self.kind!r}.")


class Faults:
    """The faults on the way to one server, which `forward` asks; `alone` keeps everybody else from asking it."""

    def __init__(
        self, kept: Kept, forward: Callable[[Asked], Answer], alone: threading.RLock, closing: threading.Event
    ) -> None:
        self._kept = kept
        self._forward = forward
        self._alone = alone
        self._closing = closing
        self._planned: list[Fault] = []
        self._lock = threading.Lock()

    def plan(self, fault: Fault) -> Fault:
        if fault.kind == "stale":
            fault.kept = self._kept.snapshot()
        with self._lock:
            self._planned.append(fault)
        return fault

    def clear(self) -> None:
        """End all faults, and let go what is held."""
        with self._lock:
            for fault in self._planned:
                fault.released.set()
            self._planned.clear()

    def answer(self, asked: Asked) -> tuple[Answer, Fault | None]:
        """Return the answer, and the fault in how it is sent. Raises: Cut."""
        sending = None
        answer = None
        for fault in self._due(asked):
            fault.reached.set()
            if fault.kind in ("delay", "hold", "call"):
                self._wait(fault)
            elif answer is None:
                sending, answer = fault, self._faulty(fault, asked)
        return (self._forward(asked) if answer is None else answer), sending

    def _due(self, asked: Asked) -> list[Fault]:
        due = []
        with self._lock:
            for fault in self._planned:
                if fnmatchcase(asked.method, fault.method) and fnmatchcase(asked.path, fault.path) and fault.times:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    fault.hits += 1
                    due.append(fault)
        return due

    def _wait(self, fault: Fault) -> None:
        if fault.kind == "delay":
            self._closing.wait(fault.seconds)
        elif fault.action is not None:
            fault.action()
        else:
            while not (fault.released.wait(0.02) or self._closing.is_set()):
                pass

    def _faulty(self, fault: Fault, asked: Asked) -> Answer:
        error = answered(fault.status, {"errors": [fault.text]})
        match fault.kind:
            case "cut-before":
                raise Cut
            case "cut-after":
                self._forward(asked)
                raise Cut
            case "error-before":
                return error
            case "error-after":
                self._forward(asked)
                return error
            case "body-before":
                return Answer(200, fault.body, error.headers)
            case "redirect":
                return Answer(307, b"", {"Location": fault.location})
            case "errors-in-200":
                return replace(error, status=200)
            case "rate-limit":
                limited = answered(429, {"errors": ["request path: rate limit quota exceeded"]})
                return replace(limited, headers=limited.headers | {"Retry-After": str(int(fault.seconds))})
            case "lost" | "stale":
                return self._elsewhere(fault, asked)
        return _spoiled(fault, self._forward(asked))

    def _elsewhere(self, fault: Fault, asked: Asked) -> Answer:
        """Answer on what is kept, as it was or as it is, and put back what is kept now."""
        with self._alone:
            now = self._kept.snapshot()
            try:
                if fault.kind == "stale":
                    self._kept.restore(fault.kept)
                return self._forward(asked)
            finally:
                self._kept.restore(now)


def _spoiled(fault: Fault, answer: Answer) -> Answer:
    match fault.kind:
        case "invalid-json":
            return replace(answer, body=answer.body[: len(answer.body) // 2])
        case "body-after":
            return Answer(200, fault.body, answer.headers)
        case "huge":
            body = json.dumps({"data": {"data": {"padding": "x" * fault.size}}}).encode()
            return Answer(200, body, {"Content-Type": "application/json"})
        case "html":
            return Answer(200, b"<html><body>Please sign in.</body></html>", {"Content-Type": "text/html"})
    return answer
