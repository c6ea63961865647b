"""What it takes to put our field back as it was: kept in memory inside a `Secret`, for a former value is one too.

Of the neighbours nothing is kept: they are none of our business, and may have changed by then.
"""

from dataclasses import dataclass

from mushu.destination import Secret
from mushu_vault.document import ABSENT, Document, Value


@dataclass(frozen=True, slots=True, repr=False)
class Memory:
    """What stood in our field, and which key the metadata named for it."""

    former: Value
    label: str | None

    def sealed(self) -> Secret:
        """Return this as a secret that `unsealed` opens."""
        memory = Document({"label": self.label}).having("former", self.former)
        return Secret(memory.encoded().decode("ascii"))


def unsealed(secret: Secret) -> Memory:
    """Return the memory that was sealed into `secret`."""
    memory = Document.parsed(secret.reveal().encode())
    return Memory(ABSENT, None) if memory is None else Memory(memory.value("former"), memory.text("label"))
