"""What the stub answers: documents as the real server shapes them, and refusals in its words."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, ready to be sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def document(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Reply:
    """What an engine returns; `raw` ones go out with their own status, past what is done to the others."""

    data: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    auth: dict[str, Any] | None = None
    wrap_info: dict[str, Any] | None = None
    status: int = 200
    raw: bool = False
    at_top: bool = False

    def document(self) -> dict[str, Any]:
        """Return the envelope, with the data at the top as well where `sys/` does that."""
        envelope = {
            "request_id": "" if self.wrap_info else str(uuid.uuid4()),
            "lease_id": "",
            "renewable": False,
            "lease_duration": 0,
            "data": self.data,
            "wrap_info": self.wrap_info,
            "warnings": self.warnings or None,
            "auth": self.auth,
        }
        return (self.data or {}) | envelope if self.at_top else envelope


class Refused(Exception):
    """The request ends here with a status and what the server says about it."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(status, *errors)
        self.status = status
        self.errors = errors


def bare(status: int) -> Reply:
    """Return a status without a body, which is what the real one sends where it has nothing to tell."""
    return Reply(status=status, raw=True)


def listed(*errors: str) -> str:
    """Write errors as the real server writes a list of them."""
    noun = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return f"{noun} occurred:\n" + "".join(f"\t* {error}\n" for error in errors) + "\n"


def encoded(document: Any) -> bytes:
    """Write JSON as Go does: one line, and nothing in it that HTML would take for its own."""
    return json.dumps(document, separators=(",", ":")).translate(_ESCAPED).encode() + b"\n"


def answered(status: int, document: Any) -> Answer:
    headers = {"Content-Type": "application/json"}
    return Answer(status, b"" if document is None else encoded(document), headers)


def refusal(refused: Refused) -> Answer:
    return answered(refused.status, {"errors": list(refused.errors)})
