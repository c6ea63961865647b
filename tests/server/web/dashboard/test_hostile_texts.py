"""Every text that others write, in every column that keeps one: it is text on each page, and turns or hides nothing."""

import re
from typing import Any

from mushu.environment import Environment
from mushu.server.audit import Actor, ActorKind, record
from mushu.server.core import db
from mushu.server.db import Base, writing
from mushu.server.delivery.models import Condition, Delivery
from mushu.server.destinations import DestinationRow
from mushu.server.environments import within
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.invitations import InvitationTerms, invite_by_email
from mushu.server.orgs.models import Organization, OrgInvitation, Role
from mushu.server.tokens.models import BrowserSession, CliToken
from mushu.server.usage import Recorder
from mushu.server.users.models import User
from tests.server.conftest import World
from tests.server.web.dashboard.conftest import Office
from tests.server.web.endpoints import make_operator

#: Markup, a template, a text from right to left, an emoji, and many letters.
TEXT = "<script>alert(1)</script>\"' onload=x {{7*7}} مفتاح 🔑 " + "x" * 100
#: What turns what follows, cannot be seen, or steers a terminal: a name with it is refused.
MARKS = "\u202e\u200b\x1b[31m"
#: By table, the columns that hold a text of others; each gets a text with its own name.
NAMES: dict[type[Base], str] = {Organization: "name", OrgInvitation: "email", ApiKey: "name"}
OTHERS: dict[type[Base], tuple[str, ...]] = {
    CliToken: ("client_name",), BrowserSession: ("user_agent",), Delivery: ("version", "error"),
    DestinationRow: ("uri",),
}  # fmt: skip


def of(table: type[Base], column: str) -> str:
    return f"env:{table.__tablename__}.{column} {TEXT} {MARKS if table in OTHERS else ''}"


def test_a_text_of_others_is_text_on_every_page(office: Office, world: World) -> None:
    make_operator(world, office.owner)
    expected = fill(office, world)
    ahead, found = [office.home, "/account", "/dashboard", "/dashboard/server/policies"], ""
    seen: set[str] = set()
    faults: list[tuple[str, str]] = []
    while ahead:
        address = ahead.pop().partition("#")[0]
        kind = re.sub(r"\b[a-z]{3}_[a-z2-7]{12}\b|=[^&]*|(?<=nations/).*|(?<=policies/).*", "", address)
        if kind in seen or not address.startswith("/") or "/static/" in address or "sandbox" in address:
            continue
        seen.add(kind)
        response = office.browser.get(address)
        html = response.get_data(as_text=True)
        if not response.content_type.startswith("text/html") or address.startswith("/docs"):
            continue
        assert response.status_code == 200, address
        for wrong in ("<script>alert", "\"' onload", "\u202e", "\u200b", "\x1b"):
            places = [one.start() for one in re.finditer(re.escape(wrong), html)]
            faults += [(address, html[max(0, place - 90) : place + 20]) for place in places]
        page = office.page(address)
        found += page.text
        ahead += page.links()
    assert not faults, "\n".join(map(str, faults))
    assert len(seen) > 25, seen
    assert not [name for name in expected if name not in found]


def fill(office: Office, world: World) -> list[str]:
    """Put a hostile text into each column, and return what each begins with."""
    key, clock, colleague = office.key("k"), world.clock, world.member(office.org, Role.ADMIN)
    office.deliver(key, Condition.DRIFTED, uri="env:/named")
    office.deliver(key, None, uri="env:/other", error="x")
    world.token(office.owner)
    named: dict[str, Any] = {"org_id": office.org.id, "name": "n", "uri": "env:/named", "environment": "live"}
    hostile = Actor(ActorKind.API_KEY, f"actor {TEXT}")
    columns = [*NAMES.items(), *((table, column) for table, some in OTHERS.items() for column in some)]
    recorder = Recorder(db.engine, None, 0)
    recorder.saw(key.id, clock(), TEXT[:25])
    recorder.denied(key.id, clock(), TEXT[:25], TEXT[:25])
    recorder.flush()
    with within(db.session, Environment.LIVE), writing(db.session):
        db.session.add(DestinationRow(id="dst_222222222222", created_by="operator", created_at=clock(), **named))
        invite_by_email(db.session, clock, hostile, office.org, InvitationTerms("member"), "x@example.com")
        add_policy(db.session, clock, hostile, PolicyRequest(name="p", scope=Scope.READ, org_id=office.org.id))
        record(
            db.session, clock(), hostile, "destination.added", "x", org_id=office.org.id, details={"name": TEXT + MARKS}
        )
        record(db.session, clock(), hostile, f"unknown {TEXT}", f"target {TEXT}", org_id=office.org.id, details={})
        for table, column in columns:
            for row in db.session.query(table).all():
                setattr(row, column, of(table, column))
        db.session.get_one(User, office.owner.id).name = f"users.name {TEXT}"
        db.session.get_one(User, colleague.id).email = f"users.email {TEXT}"
        uri = of(DestinationRow, "uri")
        db.session.query(Delivery).filter(Delivery.uri == "env:/named").update({"uri": uri})
    columns.remove((Delivery, "version"))  # of which a page shows the first letters
    texts = [f"{table.__tablename__}.{column} {TEXT}" for table, column in columns]
    return [*texts, *(f"{name} {TEXT}" for name in ("actor", "target", "users.name", "users.email", "destination"))]
