"""Set-up over HTTP, for tests in other processes: `POST /stub/<method>` with the arguments as JSON."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.vault.answers import Answer, answered
from tests.vault.calls import Asked


class Control:
    """Calls the methods that it was given, and no others."""

    def __init__(self, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._methods = methods

    def answer(self, asked: Asked) -> Answer:
        method = self._methods.get(asked.path.removeprefix("/stub/"))
        if method is None or asked.method != "POST":
            return answered(404, {"problem": f"There is nothing at {asked.method} {asked.path}."})
        try:
            return answered(200, {"result": method(**json.loads(asked.body or b"{}"))})
        except Exception as problem:
            return answered(500, {"problem": f"{type(problem).__name__}: {problem}"})
