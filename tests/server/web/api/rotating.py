"""Rotation over HTTP, as the tests of it ask for it and look at what came of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from werkzeug.test import TestResponse

from mushu.destination import digest_of
from mushu.environment import Environment
from mushu.server import destinations
from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import writing
from mushu.server.destinations import DestinationRequest
from mushu.server.keys.minting import KeyRequest
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.web.extensions import recorder_of
from tests.server.conftest import api_key, bearer
from tests.server.verbs import issue_to
from tests.server.web.api.test_keys import keys_of
from tests.server.web.asking import all_rows, answer
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

#: Where a client says that it put a key.
PLACE = "env:/home/ada/app/.env#MUSHU_API_KEY"
LIVE, TEST = Environment.LIVE, Environment.TEST
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def owner(house: House, stage: Stage) -> dict[str, str]:
    """Return the headers of the owner, with a CLI token that is younger than any turn of the clock."""
    return bearer(house.world.token(stage.owner))


def rotate(house: House, stage: Stage, key_id: str, environment: Environment = LIVE, /, **body: object) -> TestResponse:
    path = f"{keys_of(stage, environment)}/{key_id}/rotate"
    return house.client.post(path, json=body, headers=owner(house, stage))


def prove(house: House, stage: Stage, new: dict[str, Any]) -> TestResponse:
    """Say, as the client that put it at `PLACE`, that the key is there."""
    body = {"deliveries": [{"place": PLACE, "digest": digest_of(new["key"])}]}
    return house.client.post(f"{keys_of(stage)}/{new['key_id']}/delivered", json=body, headers=owner(house, stage))


def shown(house: House, stage: Stage, key_id: str) -> dict[str, Any]:
    return answer(house.client.get(f"{keys_of(stage)}/{key_id}", headers=owner(house, stage)))


def ask(house: House, stage: Stage, key: str) -> TestResponse:
    return house.client.get(f"/orgs/{stage.org}", headers=api_key(key))


def flush(house: House) -> None:
    recorder_of(house.app).flush()


def keep() -> None:
    keep_house(context_for(SYSTEM))


def name(house: House, stage: Stage, name: str, uri: str, environment: Environment = LIVE) -> str:
    """Give a place a name in the organization, as an operator would."""
    place = DestinationRequest(stage.org, name, uri, environment=environment)
    with writing(db.session):
        return destinations.add(db.session, house.clock, SYSTEM, house.world.core.sealing_keys, place).uri


def deliver(stage: Stage, path: Path, environment: Environment = LIVE) -> str:
    """Return the id of a key that the server delivered into a file."""
    request = KeyRequest(org_id=stage.org, name="backend", environment=environment)
    return issue_to(context_for(SYSTEM), request, [f"env:{path}"])[0].id


def value(path: Path) -> str:
    return dotenv_values(path)["MUSHU_API_KEY"] or ""


def left_behind() -> list[str]:
    """Return the rows of everything that a rotation could leave behind; that somebody signed in is none of it."""
    rows = all_rows()
    found = [row for table in ("api_keys", "rotations", "deliveries", "audit_events") for row in rows[table]]
    return [row for row in found if "'token.issued'" not in row]
