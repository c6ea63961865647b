"""The states of an API key (design, section 5).

    pending ─→ active ⇄ disabled            pending ─→ failed
                 │         │
                 └→ retiring ─→ revoked     (active, disabled, pending and failed can be revoked, too)

A key is retiring while its successor is not yet seen in use (`rotation.py`).

`expired` is no stored state: it is what an active, disabled or retiring key is called once its time is over. In the
same way a retiring key is called revoked once the moment of its retirement has passed. So no clock has to tick for a
key to end, and the state may be written down later.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    DISABLED = "disabled"
    RETIRING = "retiring"
    REVOKED = "revoked"
    EXPIRED = "expired"
    FAILED = "failed"


#: The states in which a key authenticates, until its expiry.
AUTHENTICATING: Final = frozenset({State.ACTIVE, State.RETIRING})

#: The states in which a key is over for good: its value, wherever it may be, opens nothing and never will.
DEAD: Final = frozenset({State.REVOKED, State.FAILED})


class AtDeadline(StrEnum):
    """What becomes of the old key where the new one was not seen in use by the deadline."""

    #: It lives on, and the rotation is reported as stalled.
    KEEP = "keep"
    #: It ends.
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state: from where it may be made, where it leads, and what the audit trail calls it."""

    action: str
    sources: frozenset[State]
    to: State


ACTIVATE: Final = Transition("key.activated", frozenset({State.PENDING}), State.ACTIVE)
FAIL: Final = Transition("key.failed", frozenset({State.PENDING}), State.FAILED)
DISABLE: Final = Transition("key.disabled", frozenset({State.ACTIVE}), State.DISABLED)
ENABLE: Final = Transition("key.enabled", frozenset({State.DISABLED}), State.ACTIVE)
RETIRE: Final = Transition("key.retiring", frozenset({State.ACTIVE}), State.RETIRING)
END_RETIREMENT: Final = Transition("key.retired", frozenset({State.RETIRING}), State.REVOKED)
DELETE: Final = Transition("key.deleted", frozenset(State) - {State.REVOKED}, State.REVOKED)
