"""What a command left behind, whichever command it was."""

import json
from dataclasses import dataclass
from typing import Any, Self


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

    def ok(self) -> Self:
        """See that it ended well."""
        assert self.code == 0, self.stderr
        return self

    def fails(self, *said: str, code: int = 1) -> Self:
        """See that it ended so, with this on stderr and nothing on stdout."""
        assert (self.code, self.stdout) == (code, ""), self.stderr
        assert not [sentence for sentence in said if sentence not in self.stderr], self.stderr
        return self
