"""A filled server in which every text that others write is hostile: `python -m tests.e2e.hostile FOLDER`."""

import sys
from pathlib import Path
from typing import Final

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys import Scope
from mushu.server.orgs.invitations import InvitationTerms, invite_by_email
from mushu.server.orgs.members import add_member
from mushu.server.orgs.models import Organization, Role
from mushu.server.orgs.service import rename_org
from mushu.server.tokens.service import issue_token
from mushu.server.users.models import User
from mushu.server.users.service import create_user
from script.pictures.seed import ADMIN, OWNER, Seed, filled

SCRIPT: Final = "<script>alert(1)</script>"
#: A script, a text from right to left, an emoji, a template, and more letters than any window has room for.
NAME: Final = f"{SCRIPT} مرحبا 🎉 '\"&amp; {{{{7*7}}}} {'x' * 120}"
EMAIL: Final = f"{SCRIPT}{'x' * 120}@example.com"


def main() -> None:
    with filled(Path(sys.argv[1])) as seed:
        _keys(seed)
        with writing(db.session):
            _people(seed)


def _keys(seed: Seed) -> None:
    with seed.at(days=20):
        seed.key(NAME, OWNER, f"{'d' * 60}-to", path=f"{SCRIPT} مرحبا", scopes=tuple(Scope))
    seed.used(NAME, "2001:db8:85a3:8d3:1319:8a2e:370:7348", hours=1)
    with seed.at(hours=2):
        seed.rotate(NAME, ADMIN)


def _people(seed: Seed) -> None:
    clock, org = seed.clock, db.session.get_one(Organization, seed.org_id)
    rename_org(db.session, clock, seed.people[OWNER], org, NAME)
    db.session.get_one(User, seed.people[OWNER].id).name = NAME
    hostile = create_user(db.session, clock, SYSTEM, EMAIL, NAME)
    add_member(db.session, clock, seed.people[ADMIN], org.id, hostile.id, Role.MEMBER)
    invite_by_email(db.session, clock, seed.people[ADMIN], org, InvitationTerms("member"), f"2{EMAIL}")
    issue_token(db.session, clock, db.session.get_one(User, seed.people[OWNER].id), NAME[:100])


if __name__ == "__main__":
    main()
