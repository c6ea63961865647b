"""A stub in another process, set up with the same methods as one in this."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.vault.setup import METHODS, SetUp

_ROOT = Path(__file__).parents[2]


class RemoteVault(SetUp):
    """Takes each call over to the other process; `address` and `root_token` are what its first line says."""

    def __init__(self, address: str, root_token: str) -> None:
        self.address = address
        self.root_token = root_token

    def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Raises: RuntimeError, with what went wrong over there."""
        body = json.dumps(arguments, default=list)
        answer = httpx.post(f"{self.address}/stub/{name}", content=body, timeout=30, trust_env=False)
        if answer.status_code != httpx.codes.OK:
            raise RuntimeError(answer.json()["problem"])
        return answer.json()["result"]


def _over_there(name: str) -> Callable[..., Any]:
    signature = inspect.signature(getattr(SetUp, name))

    def method(self: RemoteVault, *values: Any, **named: Any) -> Any:
        arguments = dict(signature.bind(self, *values, **named).arguments)
        del arguments["self"]
        result = self._call(name, arguments)
        return tuple(result) if name == "approle" else result

    return method


for _name in METHODS:
    setattr(RemoteVault, _name, _over_there(_name))


@contextmanager
def another_process() -> Iterator[RemoteVault]:
    """Start a stub in a process of its own; it ends when its standard input does."""
    command = [sys.executable, "-m", "tests.vault"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield RemoteVault(**json.loads(line))
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait(timeout=10)
