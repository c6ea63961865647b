"""docs/sdk.md shows what runs, and names what is."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import mushu.sdk
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.destinations import DestinationRequest, add
from mushu.server.keys import Scope
from tests.cli.conftest import Served
from tests.sdk.conftest import Environment

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sdk.md").read_text()
CREATE, LIST = re.findall(r"^```python\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_error_and_variable_is_on_the_page() -> None:
    kinds: list[type[Exception]] = [mushu.sdk.SdkError, *mushu.sdk.SdkError.__subclasses__()]
    variables = [f"MUSHU_{service.upper()}_URL" for service in mushu.sdk.SERVICES]
    for name in [*(kind.__name__ for kind in kinds), *variables, mushu.sdk.URL_VARIABLE]:
        assert f"{name}`" in PAGE
        assert name in (mushu.sdk.__doc__ or "") or name.startswith("MUSHU_")


def test_both_examples_run(
    served: Served, environment: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    org = served.world.org()
    environment(ORG_ID=org.id, MUSHU_API_KEY=served.world.key(org, Scope.ADMIN)[1])
    core, place = (
        served.world.core,
        DestinationRequest(org.id, "worker-env", f"env:{tmp_path}/worker.env#WORKER_KEY", {}),
    )
    with writing(db.session):
        add(db.session, core.clock, SYSTEM, core.sealing_keys, place)
    exec(compile(CREATE, "create.py", "exec"), {})
    assert str(tmp_path) in capsys.readouterr().out
    assert "WORKER_KEY=msk_live_" in (tmp_path / "worker.env").read_text()
    names: dict[str, Any] = {}
    exec(compile(LIST, "list.py", "exec"), names)
    asyncio.run(names["print_hints"]())
    assert capsys.readouterr().out.count("msk_live_") == 2
