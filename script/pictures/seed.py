"""An organization as it is after months of use, with something in each state, for pictures and tests of the dashboard.

All of it goes by the verbs that HTTP and the commands call. Only the clock is turned: from day to day, up to now.
Run with the folder where its destinations are: `python -m script.pictures.seed FOLDER`.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flask import current_app

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import SYSTEM, Actor, ActorKind
from mushu.server.clock import utc_now
from mushu.server.core import Core, context_for, core_context, db
from mushu.server.db import writing
from mushu.server.delivery.drift import DriftChecker, KeyFilter
from mushu.server.delivery.inspection import true_uri
from mushu.server.delivery.named_destinations import add_named
from mushu.server.destinations import DestinationRequest
from mushu.server.environments import set_environment
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.keys import Scope
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.lifecycle.change import disable
from mushu.server.lifecycle.context import Context, DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.issue import issue
from mushu.server.lifecycle.rotate import rotate
from mushu.server.operation.upgrading.migrations import migrate
from mushu.server.orgs.invitations import InvitationTerms, invite_by_email
from mushu.server.orgs.members import add_member, get_member, remove_member
from mushu.server.orgs.models import Organization, Role
from mushu.server.orgs.service import create_org
from mushu.server.orgs.settings import change_rules
from mushu.server.rate_limits import parse_limits
from mushu.server.usage import Recorder
from mushu.server.users.service import add_operator, create_user, set_password

PASSWORD: Final = "correct horse battery"  # noqa: S105 - of a server that is thrown away
#: Who is there: the owner, who is an operator, too; an admin; a member; an operator of no organization; the owner of
#: another one.
OWNER, ADMIN, MEMBER, OPERATOR, OUTSIDER = (
    f"{name}@example.com" for name in ("alice", "bob", "carol", "olga", "ida")
)  # fmt: skip
_GONE: Final = "dave@example.com"
_READ: Final = (Scope.READ,)
_BOTH: Final = (Scope.READ, Scope.WRITE)


@dataclass
class Seed:
    """A new server, and the moment that it is there."""

    core: Core
    folder: Path
    now: datetime = field(default_factory=utc_now)
    #: Before now.
    ago: timedelta = timedelta()
    people: dict[str, Actor] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    org_id: str = ""

    def clock(self) -> datetime:
        return self.now - self.ago

    @contextmanager
    def at(self, **ago: float) -> Iterator[None]:
        """Have everything inside happen so long ago."""
        before, self.ago = self.ago, timedelta(**ago)
        yield
        self.ago = before

    def fill(self) -> None:
        """Do what was done in these months."""
        with self.at(days=200):
            self._people()
        self._old_keys()
        self._keys_in_use()
        self._changes()
        with self.at(hours=20):
            self._of_the_server()
        self._use()

    def _people(self) -> None:
        hashed = self.core.passwords.hash(Secret(PASSWORD))
        for email in (OWNER, ADMIN, MEMBER, OPERATOR, OUTSIDER, _GONE):
            with writing(db.session):
                user = create_user(db.session, self.clock, SYSTEM, email)
                set_password(db.session, self.clock, SYSTEM, user, hashed)
                if email in (OWNER, OPERATOR):
                    add_operator(db.session, self.clock, SYSTEM, user)
                self.people[email] = Actor(ActorKind.USER, user.id)
        self.org_id = self._org("acme", OWNER)
        self._org("northwind", OUTSIDER)
        for email, role in ((ADMIN, Role.ADMIN), (MEMBER, Role.MEMBER), (_GONE, Role.ADMIN)):
            with writing(db.session):
                add_member(db.session, self.clock, self.people[OWNER], self.org_id, self.people[email].id, role)

    def _org(self, name: str, owner: str) -> str:
        with writing(db.session):
            return create_org(db.session, self.clock, self.people[owner], name, self.people[owner].id).id

    def _old_keys(self) -> None:
        """Those of before keys had to end."""
        with self.at(days=190):
            self.key("old-importer", OWNER, scopes=_READ)
            self.used("old-importer", "10.0.2.8", days=143)
            self.key("analytics", OWNER, "analytics-env", scopes=_READ)
            self.key("nightly-backup", _GONE, "backup-env", scopes=_READ)
        with self.at(days=150), writing(db.session):
            rules = {"max_key_age": timedelta(days=120), "default_lifetime": timedelta(days=90)}
            change_rules(db.session, self.clock, self.people[OWNER], self.org_id, rules)

    def _keys_in_use(self) -> None:
        quarter = timedelta(days=90)
        with self.at(days=111):
            self.key("terraform", ADMIN, "ops-env", scopes=(Scope.ADMIN,), lives=120)
        with self.at(days=78):
            more: dict[str, Any] = {"limits": parse_limits(["600/minute"]), "networks": (ip_network("10.0.4.0/24"),)}
            self.key("billing-worker", OWNER, "billing-env", lives=119, rotate_every=quarter, **more)
        with self.at(days=60):
            self.key("checkout-api", OWNER, "checkout-env", lives=67)
            self.key("ci-deploy", ADMIN, "ci-env", lives=110, scopes=(*_BOTH, Scope.ADMIN))
            self.key("web-frontend", ADMIN, "web-env", scopes=_READ)
            self.key("legacy-crm", OWNER)
        with self.at(days=30):
            self.key("mobile-push", ADMIN, "ios-env", scopes=(Scope.WRITE,), lives=118)
        with self.at(days=12):
            self.key("partner-import", ADMIN)

    def _changes(self) -> None:
        self.used("ci-deploy", "10.0.9.2", days=9)
        with self.at(days=9):
            self.rotate("ci-deploy", ADMIN)
        self.used("web-frontend", "192.0.2.44", days=3.1)
        with self.at(days=3):
            disable(self._context(ADMIN), self.keys["web-frontend"].id)
        with self.at(days=2):
            self.key("sandbox-tests", ADMIN, environment=Environment.TEST)
            self._place("mailer-env")
        with self.at(days=1):
            delete(self._context(OWNER), self.keys["legacy-crm"].id)
            with writing(db.session):
                gone = get_member(db.session, self.org_id, self.people[_GONE].id)
                remove_member(db.session, self.clock, self.people[OWNER], gone)
        (self.folder / "ios-env" / ".env").write_text("MUSHU_API_KEY=of-somebody-else\n")
        with self.at(minutes=4):
            [*DriftChecker(db.session, self.clock, self.core.open_destination).check(KeyFilter(org_id=self.org_id))]

    def _of_the_server(self) -> None:
        with writing(db.session):
            org = db.session.get_one(Organization, self.org_id)
            invite_by_email(
                db.session, self.clock, self.people[ADMIN], org, InvitationTerms("member", 7), "erin@example.com"
            )
            limits = parse_limits(["50/second"])
            asked = PolicyRequest(name="orders", scope=Scope.READ, org_id=self.org_id, limits=limits)
            add_policy(db.session, self.clock, self.people[OWNER], asked)

    def _use(self) -> None:
        """Let the keys be used as by day and by night, and one be tried by somebody else."""
        busy = {"checkout-api": 240, "billing-worker": 90, "mobile-push": 12, "analytics": 9, "nightly-backup": 1}
        for name, most in busy.items():
            for hour in range(48, 0, -1):
                share = 0.55 + 0.45 * math.sin((self.clock() - timedelta(hours=hour)).hour / 24 * math.tau - 2)
                for turn in range(round(most * share)):
                    self.used(name, f"10.0.4.{17 + turn % 2}", hours=hour - 0.9 * turn / most)
        self.used("nightly-backup", "10.0.4.9", days=30)
        for days in range(29, 2, -1):
            for name, often in (("checkout-api", 320), ("billing-worker", 130)):
                for _ in range(often):
                    self.used(name, "10.0.4.17", days=days)
        self.used("terraform", "198.51.100.4", hours=12)
        self.used("billing-worker", "10.0.4.17", seconds=12)
        for turn in range(620):
            self._refused("billing-worker", "203.0.113.77", "network_not_allowed", minutes=41 + turn / 8)
        for turn in range(60):
            self._refused("mobile-push", "10.0.7.3", "missing_scope", minutes=190 + turn)
        with self.at(minutes=26):
            new = self.rotate("checkout-api", OWNER)
        for address, minutes in (("10.0.4.18", 25.0), ("10.0.4.17", 22.0), ("10.0.4.18", 1.0), ("10.0.4.17", 0.2)):
            self._count(new.id, address, minutes=minutes)
        self.used("checkout-api", "10.0.4.31", seconds=3)

    def key(
        self, name: str, by: str, place: str | None = None, *,
        scopes: tuple[Scope, ...] = _BOTH, lives: float | None = None, environment: Environment = Environment.LIVE,
        path: str = "", **more: Any,
    ) -> None:  # fmt: skip
        """Have somebody create a key, which goes to the destination of this name, or is shown."""
        ends = self.clock() + timedelta(days=lives) if lives else None
        asked = KeyRequest(
            org_id=self.org_id, name=name, scopes=scopes, environment=environment, expires_at=ends, **more
        )
        if place is not None:
            self._place(place, path)
        mode = DeliveryMode.RESPONSE if place is None else DeliveryMode.SERVER
        names = None if place is None else [place]
        self.keys[name] = issue(self._context(by, environment), asked, DeliveryChoice(mode=mode, names=names)).key

    def _place(self, name: str, path: str = "") -> None:
        file = self.folder / (path or name) / ".env"
        file.parent.mkdir(parents=True)
        uri = true_uri(f"env:{quote(str(file))}#MUSHU_API_KEY", {}, self.folder)
        asked = DestinationRequest(self.org_id, name, uri)
        with writing(db.session):
            add_named(db.session, self.clock, SYSTEM, self.core.sealing_keys, asked)

    def rotate(self, name: str, by: str) -> ApiKey:
        asked = RotationRequest(key_id=self.keys[name].id, terms=Terms())
        return rotate(self._context(by), asked, DeliveryChoice(mode=DeliveryMode.SERVER)).key

    def _context(self, email: str, environment: Environment = Environment.LIVE) -> Context:
        return context_for(self.people[email], self.org_id, environment)

    def used(self, name: str, address: str, **ago: float) -> None:
        self._count(self.keys[name].id, address, **ago)

    def _count(self, key_id: str, address: str, **ago: float) -> None:
        with self.at(**ago):
            self.recorder.saw(key_id, self.clock(), address)

    def _refused(self, name: str, address: str, reason: str, **ago: float) -> None:
        with self.at(**ago):
            self.recorder.denied(self.keys[name].id, self.clock(), address, reason)

    def __post_init__(self) -> None:
        self.recorder = Recorder(db.engine, None, 0)


@contextmanager
def filled(folder: Path) -> Iterator[Seed]:
    """Fill a new server, whose destinations are in this folder; what is used inside is written down at the end."""
    with core_context() as core:
        migrate()
        set_environment(db.session, Environment.LIVE)
        seed = Seed(core, folder.resolve())
        current_app.extensions["mushu"] = seed.core = Core(core.settings, seed.clock, core.open_destination)
        seed.fill()
        yield seed
        seed.recorder.flush()


if __name__ == "__main__":
    with filled(Path(sys.argv[1])):
        pass
