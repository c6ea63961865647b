"""What a command left behind, whichever command it was."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """One run of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table, heading included; columns stand at least two spaces apart."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.stdout.splitlines()]
