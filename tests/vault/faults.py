"""What goes wrong on the way: faults that a test plans for requests to come."""

import json
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal, get_args

from tests.vault.answers import Answer, answered
from tests.vault.calls import Asked
from tests.vault.core import Core
from tests.vault.system import Mount

Kind = Literal[
    "delay",  # wait `seconds`, then go on
    "hold",  # wait until the test says `release`, then go on
    "cut-before",  # close the connection, nothing done
    "cut-after",  # do it, then close the connection: the answer is lost
    "error-before",  # `status` and `text`, nothing done
    "error-after",  # do it, then `status` and `text`
    "redirect",  # 307 to `location`, nothing done
    "errors-in-200",  # 200, and in it a list of errors; nothing done
    "lost",  # answer as if it were done, and keep nothing of it
    "stale",  # answer from what was there when the fault was planned
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
    action: Callable[[], object] | None = None
    hits: int = 0
    mounts: dict[str, Mount] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"There is no fault {self.kind!r}.")


class Faults:
    """The faults of one server."""

    def __init__(self, core: Core, closing: threading.Event) -> None:
        self._core = core
        self._closing = closing
        self._planned: list[Fault] = []
        self._lock = threading.Lock()

    def plan(self, fault: Fault) -> int:
        """Return the number by which the fault is known."""
        if fault.kind == "stale":
            with self._core.lock:
                fault.mounts = deepcopy(self._core.mounts)
        with self._lock:
            self._planned.append(fault)
            return len(self._planned) - 1

    def get(self, number: int) -> Fault:
        return self._planned[number]

    def clear(self) -> None:
        """End all faults, and let go what is held."""
        with self._lock:
            for fault in self._planned:
                fault.times = 0
                fault.released.set()

    def answer(self, asked: Asked) -> tuple[Answer, Fault | None]:
        """Return the answer, and the fault in how it is sent. Raises: Cut."""
        sending = None
        answer = None
        for fault in self._due(asked):
            if fault.kind in ("delay", "hold", "call"):
                self._wait(fault)
            elif answer is None:
                sending, answer = fault, self._faulty(fault, asked)
        return (self._core.answer(asked) if answer is None else answer), sending

    def _due(self, asked: Asked) -> list[Fault]:
        path, due = asked.path.removeprefix("/v1/"), []
        with self._lock:
            for fault in self._planned:
                if fnmatchcase(asked.method, fault.method) and fnmatchcase(path, fault.path) and fault.times:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    fault.hits += 1
                    due.append(fault)
        return due

    def _wait(self, fault: Fault) -> None:
        fault.reached.set()
        if fault.kind == "delay":
            self._closing.wait(fault.seconds)
        elif fault.action is not None:
            fault.action()
        else:
            while not (fault.released.wait(0.02) or self._closing.is_set()):
                pass

    def _faulty(self, fault: Fault, asked: Asked) -> Answer:
        fault.reached.set()
        error = answered(fault.status, {"errors": [fault.text]})
        match fault.kind:
            case "cut-before":
                raise Cut
            case "cut-after":
                self._core.answer(asked)
                raise Cut
            case "error-before":
                return error
            case "error-after":
                self._core.answer(asked)
                return error
            case "redirect":
                return Answer(307, b"", {"Location": fault.location})
            case "errors-in-200":
                return replace(error, status=200)
            case "rate-limit":
                limited = answered(429, {"errors": ["request path: rate limit quota exceeded"]})
                return replace(limited, headers=limited.headers | {"Retry-After": str(int(fault.seconds))})
            case "lost" | "stale":
                return self._elsewhere(fault, asked)
        return _spoiled(fault, self._core.answer(asked))

    def _elsewhere(self, fault: Fault, asked: Asked) -> Answer:
        """Answer on a copy of what is kept, as it was or as it is."""
        core = self._core
        with core.lock:
            kept = dict(core.mounts)
            core.mounts.update(deepcopy(kept if fault.kind == "lost" else fault.mounts))
            try:
                return core.answer(asked)
            finally:
                core.mounts.update(kept)


def _spoiled(fault: Fault, answer: Answer) -> Answer:
    match fault.kind:
        case "invalid-json":
            return replace(answer, body=answer.body[: len(answer.body) // 2])
        case "huge":
            body = json.dumps({"data": {"data": {"padding": "x" * fault.size}}}).encode()
            return Answer(200, body, {"Content-Type": "application/json"})
        case "html":
            return Answer(200, b"<html><body>Please sign in.</body></html>", {"Content-Type": "text/html"})
    return answer
