"""Forms of the dashboard, sent as a browser sends them: with what they hide, and a field for each box."""

import re
from html import unescape
from pathlib import Path
from typing import Any

from sqlalchemy import select
from werkzeug.test import TestResponse

from mushu.destination import Surroundings, open_destination
from mushu.environment import Environment
from mushu.server import destinations
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.destinations import DestinationRequest
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.models import Organization
from tests.server.conftest import World
from tests.server.web.dashboard.conftest import Office
from tests.server.web.pages.browser import Browser

_FORM = re.compile(r"<form[^>]*action=\"([^\"]*)\"[^>]*>(.*?)</form>", re.DOTALL)
_HIDDEN = re.compile(r'<input[^>]*name="([^"]+)"[^>]*type="hidden"[^>]*value="([^"]*)"')


def hidden_of(page: TestResponse, action: str) -> dict[str, str]:
    """Return what the form of a page with this address hides."""
    forms = {unescape(address): inner for address, inner in _FORM.findall(page.get_data(as_text=True))}
    return {name: unescape(value) for name, value in _HIDDEN.findall(forms[action])}


def send(browser: Browser, page: TestResponse, action: str, **fields: Any) -> TestResponse:
    """Send the form of a page; a field may be a list of the boxes that are ticked."""
    filled = hidden_of(page, action)
    for name, value in fields.items():
        filled |= {f"{name}.{box}": "yes" for box in value} if isinstance(value, list) else {name: value}
    return browser.client.post(action, data=filled)


def create(office: Office, base: str | None = None, **fields: Any) -> TestResponse:
    """Open the form of a new key, and send it."""
    action = f"{base or office.home}keys/new"
    given = {"name": "billing", "way": "show", "scope": ["read"], "expires": "90d", "rotate_every": "never"}
    return send(office.browser, office.browser.get(action), action, **given | fields)


def place(
    world: World, org: Organization, folder: Path, name: str, environment: Environment = Environment.LIVE
) -> Path:
    """Name a destination, and return the file that it is."""
    file = folder / name / ".env"
    file.parent.mkdir()
    found = open_destination(f"env:{file}#MUSHU_API_KEY", Surroundings(folder))
    assert found is not None
    request = DestinationRequest(org.id, name, found.uri, {}, environment)
    with writing(db.session):
        destinations.add(db.session, world.clock, SYSTEM, world.core.sealing_keys, request)
    return file


def all_keys() -> list[ApiKey]:
    query = select(ApiKey).order_by(ApiKey.created_at, ApiKey.id).execution_options(populate_existing=True)
    with reading(db.session):
        return [*db.session.scalars(query)]
