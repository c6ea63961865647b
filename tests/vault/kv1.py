"""The key-value engine, version 1: what is written is what is read."""

import json
from typing import Any

from tests.vault.answers import Refused, Reply, listed
from tests.vault.calls import Call
from tests.vault.listing import children, listing


class PlainSecrets:
    """One mount."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def exists(self, call: Call) -> bool | None:
        return call.path in self.texts

    def handle(self, call: Call) -> Reply | None:
        """Raises: Refused."""
        match call.operation:
            case "read":
                return self._read(call.path)
            case "create" | "update":
                self._write(call.path, call.fields)
                return None
            case "delete":
                self.texts.pop(call.path, None)
                return None
            case "list":
                return listing(children(self.texts, call.path))
        raise Refused(405, listed("unsupported operation"))

    def _read(self, path: str) -> Reply | None:
        if path not in self.texts:
            return None
        data = json.loads(self.texts[path])
        return Reply(data)

    def _write(self, path: str, fields: dict[str, Any]) -> None:
        if not path:
            raise Refused(400, "missing path")
        if not fields:
            raise Refused(400, "missing data fields")
        self.texts[path] = json.dumps(fields)
