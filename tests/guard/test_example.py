"""The service in Python of docs/protect-a-service.md, as it is printed there, with a real server behind it."""

import re
from pathlib import Path
from typing import Any

import pytest

from mushu.server.keys import Scope
from tests.guard.conftest import Served

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protect-a-service.md"


def test_the_service_of_the_page_lets_good_keys_pass(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(example) == 1
    org = served.world.org()
    key = served.world.key(org, Scope.READ)[1]
    monkeypatch.setenv("MUSHU_API_KEY", key)
    page: dict[str, Any] = {}
    exec(example[0].replace("http://127.0.0.1:8000", served.url), page)

    def ask(key: str | None, path: str) -> tuple[str, bytes]:
        begun = [""]

        def begin(status: str, *_: object) -> None:
            begun[0] = status

        sent = {"HTTP_X_API_KEY": key} if key is not None else {}
        content = page["app"](sent | {"REQUEST_METHOD": "GET", "PATH_INFO": path, "REMOTE_ADDR": "192.0.2.1"}, begin)
        return begun[0], b"".join(content)

    assert ask(key, "/") == ("200 OK", b"Hello k, you may read.")
    assert ask(key, "/reports")[0] == "403 Forbidden"
    assert ask(served.world.key(org)[1], "/reports") == ("200 OK", b"The report is changed.")
    assert ask(None, "/")[0] == "401 Unauthorized"
    page["guard"].close()
