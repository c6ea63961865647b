"""Policies over HTTP, for operators: what the gate asks on behalf of other services."""

from typing import Literal

from pydantic import BaseModel

from mushu.environment import Environment
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.gate import policies as service
from mushu.server.gate.policies import PolicyRequest, shown
from mushu.server.keys import Scope
from mushu.server.rate_limits import parse_limits
from mushu.server.web.api.models import Body, LimitsChange, LimitTexts, ListWindow, Text, optional
from mushu.server.web.guard import current_user, operator_only
from mushu.server.web.routes import Resource, Route


class PolicyPath(BaseModel):
    name: str


class NewPolicy(Body):
    """A policy of one organization, or with `any_org` of all. Its name is given once, and never again."""

    name: Text
    scope: Literal["read", "write", "admin"]
    org_id: Text | None = None
    any_org: bool = False
    environment: Literal["live", "test"] = "live"
    cli_tokens: bool = False
    limits: LimitTexts | None = None
    over_limit: Literal[403, 429] = 403

    @property
    def request(self) -> PolicyRequest:
        return PolicyRequest(
            name=self.name,
            scope=Scope(self.scope),
            org_id=self.org_id,
            any_org=self.any_org,
            environment=Environment(self.environment),
            cli_tokens=self.cli_tokens,
            limits=parse_limits(self.limits or ()),
            over_limit=service.OverLimit(self.over_limit),
        )


class PolicyLimits(LimitsChange):
    """How often a policy lets pass, and what it answers beyond that."""

    over_limit: Literal[403, 429] | None = None


class Policy(BaseModel):
    """What the gate asks under a name; a policy without an organization lets keys of all pass."""

    name: str
    org_id: str | None
    environment: str
    scope: str
    cli_tokens: bool
    created_at: str
    limits: list[str] | None = optional()
    over_limit: int | None = optional()
    removed_at: str | None = optional()


class PolicyList(BaseModel):
    policies: list[Policy]
    next_cursor: str | None


@operator_only
def create_policy(body: NewPolicy) -> Policy:
    """Add a policy, whose name a proxy then sends to `/forward-auth/{name}`."""
    with writing(db.session):
        policy = service.add_policy(db.session, get_core().clock, current_user().actor, body.request)
    return Policy(**shown(policy))


@operator_only
def list_all_policies(query: ListWindow) -> PolicyList:
    """List the policies that were not removed, by name."""
    with reading(db.session):
        found = service.list_policies(db.session, query.window).shown(shown)
    return PolicyList(policies=[Policy(**policy) for policy in found.rows], next_cursor=found.next_cursor)


@operator_only
def show_policy(path: PolicyPath) -> Policy:
    """Show a policy, also a removed one."""
    with reading(db.session):
        return Policy(**shown(service.get_policy(db.session, path.name)))


@operator_only
def change_policy(path: PolicyPath, body: PolicyLimits) -> Policy:
    """Change how often a policy lets pass, and what it answers beyond that."""
    with writing(db.session):
        policy = service.limit_policy(
            db.session, get_core().clock, current_user().actor, path.name, body.new_limits, body.over_limit
        )
    return Policy(**shown(policy))


@operator_only
def delete_policy(path: PolicyPath) -> Policy:
    """Have a policy deny everybody from now on; its name is never given again."""
    with writing(db.session):
        policy = service.remove_policy(db.session, get_core().clock, current_user().actor, path.name)
    return Policy(**shown(policy))


RESOURCE = Resource(
    "policies",
    [
        Route("POST", "/policies", create_policy, Policy),
        Route("GET", "/policies", list_all_policies, PolicyList),
        Route("GET", "/policies/<name>", show_policy, Policy),
        Route("PATCH", "/policies/<name>", change_policy, Policy),
        Route("DELETE", "/policies/<name>", delete_policy, Policy),
    ],
)
