"""What is done before serving: schema, recovery, and for an empty database an owner, an organization and a first key.

Every step looks before it acts: killed anywhere and run again, it goes on where it was.
"""

import os
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from sqlalchemy import exists, select

from mushu.address import leaves_in_the_clear
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import Core, context_for, db
from mushu.server.db import reading, writing
from mushu.server.delivery.reconciler import Finding
from mushu.server.instance import alone
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode, Minted
from mushu.server.lifecycle.issue import issue
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.operation.client_wheel import client_wheel
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy
from mushu.server.orgs.models import Organization
from mushu.server.orgs.service import create_org
from mushu.server.users.links import find_open_link, issue_link
from mushu.server.users.models import User
from mushu.server.users.service import add_operator, create_user

ORG_NAME: Final = "default"
KEY_NAME: Final = "first-key"
KEY_FILE: Final = "first-key.env"
LOCK_FILE: Final = "first-run.lock"

Upgrade = Callable[[Core], list[str]]


def prepare(core: Core, upgrade: Upgrade = upgrade_with_copy) -> list[str]:
    """Bring the instance into the state in which it can serve, and return what the operator should read.

    Args:
        upgrade: brings the schema up to date, and returns what the operator should read of that.

    Raises:
        MushuError: it cannot be done; the sentence says why.
    """
    # Two starts at once would both find the instance empty.
    with alone(core.settings.instance_path / LOCK_FILE):
        upgraded = upgrade(core)
        findings = keep_house(context_for(SYSTEM))
        found_org = _found_organization(core)
        minted = _first_key(core, found_org) if found_org is not None else None
        return [*upgraded, *_report(core.settings, minted, findings, _about_owner(core))]


def _found_organization(core: Core) -> str | None:
    """Return the id of the first organization, made here if there is none; None where others were made by hand."""
    with writing(db.session):
        if not db.session.scalar(select(exists().select_from(User))):
            user = create_user(db.session, core.clock, SYSTEM, core.settings.owner_email)
            create_org(db.session, core.clock, SYSTEM, ORG_NAME, user.id)
            add_operator(db.session, core.clock, SYSTEM, user)
        first = select(Organization.id).order_by(Organization.created_at, Organization.id).limit(1)
        return db.session.scalar(first.where(Organization.name == ORG_NAME))


def _first_key(core: Core, org_id: str) -> Minted | None:
    """Mint the first key and deliver it, unless there ever was a key; a failed attempt does not count."""
    with reading(db.session):
        if db.session.scalar(select(exists().where(ApiKey.stored_state != State.FAILED))):
            return None
    file = quote(
        os.fsencode(core.settings.instance_path / KEY_FILE)
    )  # of a URI, `?`, `#` and `%` are no part of a path
    to_file = DeliveryChoice(mode=DeliveryMode.SERVER, uris=[f"env:{file}"])
    return issue(context_for(SYSTEM), KeyRequest(org_id=org_id, name=KEY_NAME), to_file)


def _about_owner(core: Core) -> list[str]:
    """Say how the first user gets in, who has no password yet; make a link where none is open."""
    with writing(db.session):
        user = db.session.scalars(select(User).order_by(User.created_at, User.id).limit(1)).one_or_none()
        if user is None or user.email != core.settings.owner_email or user.disabled_at or user.password_hash:
            return []
        if find_open_link(db.session, core.clock, user.id) is not None:
            way = f"use the link, or `flask users set-password {user.email}`"
            return [f"owner      {user.email} has no password yet: {way}"]
        secret = issue_link(db.session, core.clock, SYSTEM, user)
    link = f"{core.settings.base_url}/password/{secret.reveal()}"
    return [f"owner      {user.email}: set your password, once, at {link}"]


def _report(settings: Settings, minted: Minted | None, findings: list[Finding], owner: list[str]) -> list[str]:
    lines = [f"recovered  {finding.key_id}: {finding.detail}" for finding in findings]
    if minted is not None:
        key = minted.key
        lines.append(f"first key  {key.id} ({', '.join(key.scopes)}) is in {', '.join(minted.delivered_to)}")
    lines += owner
    if (wheel := client_wheel()) is not None and not leaves_in_the_clear(settings.base_url):
        lines.append(f"client     pip install '{wheel.address(settings.base_url)}'")
    return [*lines, f"address    {settings.base_url}"]
