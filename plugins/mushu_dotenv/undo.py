"""What it takes to put one binding back as it was: kept in memory inside a `Secret`, for a former value is one too."""

import json
from dataclasses import dataclass

from mushu.destination import Secret


@dataclass(frozen=True, slots=True, repr=False)
class Added:
    """The line was appended, behind `glue` where the file had no newline at its end."""

    glue: str


@dataclass(frozen=True, slots=True, repr=False)
class Replaced:
    """`written` made way for `filled`; both as they stand in the file, quotes included."""

    written: str
    filled: str


Undo = Added | Replaced


@dataclass(frozen=True, slots=True, repr=False)
class Memory:
    """The undo of one write, and whether the write made the file."""

    undo: Undo
    made_file: bool

    def sealed(self) -> Secret:
        """Return this as a secret that `unsealed` opens."""
        pieces = [self.undo.glue] if isinstance(self.undo, Added) else [self.undo.written, self.undo.filled]
        return Secret(json.dumps([self.made_file, *pieces]))


def unsealed(secret: Secret) -> Memory:
    """Return the memory that was sealed into `secret`."""
    made_file, *pieces = json.loads(secret.reveal())
    return Memory(Added(*pieces) if len(pieces) == 1 else Replaced(*pieces), bool(made_file))
