"""Policies over HTTP, for operators: what the gate asks on behalf of other services."""

from typing import Literal

from pydantic import BaseModel

from mushu.environment import Environment
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.gate.policies import PolicyRequest, add_policy, get_policy, list_policies, remove_policy, shown
from mushu.server.keys import Scope
from mushu.server.web.api.models import Body, ListWindow, Text, optional
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

    @property
    def request(self) -> PolicyRequest:
        return PolicyRequest(
            name=self.name,
            scope=Scope(self.scope),
            org_id=self.org_id,
            any_org=self.any_org,
            environment=Environment(self.environment),
            cli_tokens=self.cli_tokens,
        )


class Policy(BaseModel):
    """What the gate asks under a name; a policy without an organization lets keys of all pass."""

    name: str
    org_id: str | None
    environment: str
    scope: str
    cli_tokens: bool
    created_at: str
    removed_at: str | None = optional()


class PolicyList(BaseModel):
    policies: list[Policy]
    next_cursor: str | None


@operator_only
def create_policy(body: NewPolicy) -> Policy:
    """Add a policy, whose name a proxy then sends to `/forward-auth/{name}`."""
    with writing(db.session):
        policy = add_policy(db.session, get_core().clock, current_user().actor, body.request)
    return Policy(**shown(policy))


@operator_only
def list_all_policies(query: ListWindow) -> PolicyList:
    """List the policies that were not removed, by name."""
    with reading(db.session):
        found = list_policies(db.session, query.window).shown(shown)
    return PolicyList(policies=[Policy(**policy) for policy in found.rows], next_cursor=found.next_cursor)


@operator_only
def show_policy(path: PolicyPath) -> Policy:
    """Show a policy, also a removed one."""
    with reading(db.session):
        return Policy(**shown(get_policy(db.session, path.name)))


@operator_only
def delete_policy(path: PolicyPath) -> Policy:
    """Have a policy deny everybody from now on; its name is never given again."""
    with writing(db.session):
        policy = remove_policy(db.session, get_core().clock, current_user().actor, path.name)
    return Policy(**shown(policy))


RESOURCE = Resource(
    "policies",
    [
        Route("POST", "/policies", create_policy, Policy),
        Route("GET", "/policies", list_all_policies, PolicyList),
        Route("GET", "/policies/<name>", show_policy, Policy),
        Route("DELETE", "/policies/<name>", delete_policy, Policy),
    ],
)
