from typing import Annotated

from pydantic import BaseModel, Field

from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.keys.scopes import Scope, parse_scopes
from mushu.server.orgs.settings import MOST_DOMAINS, Rules, change_rules, rules_of, written
from mushu.server.web.api.models import Body, OrgPath
from mushu.server.web.guard import current_principal, requires
from mushu.server.web.routes import Resource, Route

_Duration = Annotated[str | None, Field(max_length=16)]
_DURATIONS = ("default_lifetime", "default_rotate_every", "max_key_age")


class OrgSettingsChange(Body):
    """What is to change; null takes a setting back. Durations are written as `90d`."""

    default_scopes: Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=10)] | None = None
    default_lifetime: _Duration = None
    default_rotate_every: _Duration = None
    max_key_age: _Duration = None
    email_domains: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=MOST_DOMAINS)] | None = None


class OrgSettings(BaseModel):
    """What an organization has settled for itself; null where nothing is settled."""

    default_scopes: list[str] | None
    default_lifetime: str | None
    default_rotate_every: str | None
    max_key_age: str | None
    email_domains: list[str] | None


@requires(Scope.READ)
def show_organization_settings(path: OrgPath) -> OrgSettings:
    """Show the settings of an organization."""
    with reading(db.session):
        return _answer(rules_of(db.session, path.org_id))


@requires(Scope.ADMIN, changes_shared=True)
def change_organization_settings(path: OrgPath, body: OrgSettingsChange) -> OrgSettings:
    """Change settings of an organization: they are for new keys and new members; what is there stays."""
    changes = _changes(body)
    with writing(db.session):
        return _answer(change_rules(db.session, get_core().clock, current_principal().actor, path.org_id, changes))


def _changes(body: OrgSettingsChange) -> dict[str, object]:
    changes: dict[str, object] = {name: getattr(body, name) for name in body.model_fields_set}
    for name in _DURATIONS:
        text = getattr(body, name)
        if text is not None:
            changes[name] = parse_duration(text, name)
    if body.default_scopes is not None:
        changes["default_scopes"] = parse_scopes(body.default_scopes)
    if body.email_domains is not None:
        changes["email_domains"] = tuple(dict.fromkeys(domain.lower() for domain in body.email_domains))
    return changes


def _answer(rules: Rules) -> OrgSettings:
    return OrgSettings.model_validate(written(rules))


_PATH = "/orgs/<org_id>/settings"

RESOURCE = Resource(
    "settings",
    [
        Route("GET", _PATH, show_organization_settings, OrgSettings),
        Route("PATCH", _PATH, change_organization_settings, OrgSettings),
    ],
)
