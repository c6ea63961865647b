"""Who may call what, written by hand from the design (section 6), and not derived from the marks in the code."""

import secrets
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.core import context_for, db
from mushu.server.db import writing
from mushu.server.environments import within
from mushu.server.gate.access import OrgFrom, OwnerLookup, Requirement
from mushu.server.gate.policies import PolicyRequest, add_policy
from mushu.server.keys import Scope
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE, AtDeadline
from mushu.server.lifecycle.issue import issue
from mushu.server.orgs.invitations import InvitationTerms, invite_by_link
from mushu.server.orgs.models import Organization, Role
from mushu.server.resources.devices import Registration, register_device
from mushu.server.resources.media.models import MediaItem
from mushu.server.resources.media.service import MEDIA, Announcement, announce, mark_ready, mark_uploaded
from mushu.server.resources.notifications.service import NotificationRequest, record_notification
from mushu.server.resources.tenants import TENANT, TenantRequest, create_tenant, get_tenant
from mushu.server.tokens.service import issue_token
from mushu.server.users.models import User
from mushu.server.users.service import add_operator, get_user
from mushu.server.web.api import (
    audit,
    auth,
    destinations,
    devices,
    health,
    invitations,
    key_list_models,
    key_models,
    keys,
    media,
    orgs,
    policies,
    push,
    tenants,
    verification,
)
from mushu.server.web.api.models import Deleted, LoginAnswer, Member
from tests.server.conftest import World, bearer
from tests.server.verbs import BY_CLIENT, show_successor
from tests.server.web.asking import SeparateClient

READ, WRITE, ADMIN = Scope.READ, Scope.WRITE, Scope.ADMIN
FIELD = OrgFrom.FIELD
LIVE, TEST = Environment.LIVE, Environment.TEST
PREFIXES = {LIVE: "", TEST: "/sandbox"}
#: What the words in our paths are called in Flask's rules.
PARAMETERS = {
    "org": "org_id",
    "member": "user_id",
    "token": "token",
    "invitation": "invite_id",
    "cli_token": "token_id",
    "key": "key_id",
    "pending_key": "key_id",
    "disabled_key": "key_id",
    "retiring_key": "key_id",
    "tenant": "tenant_id",
    "device": "token",
    "message": "message_id",
    "policy": "name",
    "picture": "media_id",
    "arrived": "media_id",
}


class Stage:
    """An organization with everything that a call may be about, each made when it is first asked for.

    Its ids stand for `{org}`, `{member}`, `{newcomer}`, `{key}`, `{disabled_key}`, `{pending_key}`, `{cli_token}` and
    `{invitation}` in paths and in bodies; `{token}` is that of an invitation into another organization.
    """

    def __init__(self, world: World, environment: Environment = LIVE) -> None:
        self.world = world
        self.environment = environment

    @cached_property
    def organization(self) -> Organization:
        """Its owner is an operator of the server, too."""
        org = self.world.org()
        make_operator(self.world, self.world.owner_of(org))
        return org

    @cached_property
    def owner(self) -> User:
        return self.world.owner_of(self.organization)

    @cached_property
    def headers(self) -> dict[str, str]:
        """Those of the owner."""
        return bearer(self.world.token(self.owner))

    @cached_property
    def org(self) -> str:
        return self.organization.id

    @cached_property
    def member(self) -> str:
        return self.world.member(self.organization, Role.MEMBER).id

    @cached_property
    def newcomer(self) -> str:
        return self.world.user().id

    @cached_property
    def key(self) -> str:
        return self.world.key(self.organization, environment=self.environment)[0].id

    @cached_property
    def disabled_key(self) -> str:
        key_id = self.key
        with writing(db.session):
            return change_state(db.session, self.world.clock, SYSTEM, key_id, DISABLE).id

    @cached_property
    def retiring_key(self) -> str:
        """One that ends in an hour."""
        key_id = self.world.key(self.organization, environment=self.environment)[0].id
        terms = Terms(deadline=timedelta(hours=1), at_deadline=AtDeadline.REVOKE)
        show_successor(context_for(SYSTEM), key_id, terms)
        return key_id

    @cached_property
    def pending_key_row(self) -> ApiKey:
        request = KeyRequest(org_id=self.org, name="k", environment=self.environment)
        return issue(context_for(SYSTEM), request, BY_CLIENT).key

    @cached_property
    def pending_key(self) -> str:
        return self.pending_key_row.id

    @cached_property
    def caller(self) -> User:
        """Whose CLI token `{cli_token}` is: the owner's, unless a test says otherwise."""
        return self.owner

    @cached_property
    def cli_token(self) -> str:
        caller = self.caller
        with writing(db.session):
            return issue_token(db.session, self.world.clock, caller)[0].id

    @cached_property
    def invitation(self) -> str:
        organization = self.organization
        with writing(db.session):
            return invite_by_link(db.session, self.world.clock, SYSTEM, organization, InvitationTerms("member"))[0].id

    @cached_property
    def token(self) -> str:
        elsewhere = self.world.org()
        with writing(db.session):
            return invite_by_link(db.session, self.world.clock, SYSTEM, elsewhere, InvitationTerms("member"))[
                1
            ].reveal()

    @cached_property
    def tenant(self) -> str:
        request = TenantRequest(org_id=self.org, bundle_id="com.example.shop")
        with within(db.session, self.environment), writing(db.session):
            return create_tenant(db.session, self.world.clock, SYSTEM, self.world.core.sealing_keys, request).id

    @cached_property
    def device(self) -> str:
        registration = Registration(tenant_id=self.tenant, user_id="ada", token=secrets.token_hex(32))
        with within(db.session, self.environment), writing(db.session):
            return register_device(db.session, self.world.clock, registration).token

    @cached_property
    def policy(self) -> str:
        request = PolicyRequest(name=f"p-{secrets.token_hex(4)}", org_id=self.org, scope=READ)
        with writing(db.session):
            return add_policy(db.session, self.world.clock, SYSTEM, request).name

    @cached_property
    def message(self) -> str:
        """A notification in the outbox of the tenant."""
        tenant_id, _ = self.tenant, self.device
        payload = {"aps": {"badge": 1}}
        request = NotificationRequest(tenant_id=tenant_id, user_ids=["ada"], payload=payload, actor=SYSTEM)
        with within(db.session, self.environment), writing(db.session):
            tenant = get_tenant(db.session, tenant_id)
            return record_notification(db.session, self.world.clock, tenant, request).id

    @cached_property
    def picture(self) -> str:
        """An item of media that is ready."""
        item = self._announced("image/png")
        with within(db.session, self.environment), writing(db.session):
            assert mark_ready(db.session, self.world.clock, SYSTEM, item)
        return item.id

    @cached_property
    def arrived(self) -> str:
        """An item of media whose bytes are there, and were not looked at yet."""
        item = self._announced("text/plain")
        self.world.core.media.storage.receive(item.object_key, item.size_bytes, iter([b"Hello"]))
        with within(db.session, self.environment), writing(db.session):
            assert mark_uploaded(db.session, self.world.clock, item)
        return item.id

    def _announced(self, content_type: str) -> MediaItem:
        asked = Announcement(
            org_id=self.org, tenant_id=self.tenant, filename="hello", content_type=content_type, size_bytes=5
        )
        with within(db.session, self.environment), writing(db.session):
            return announce(db.session, self.world.clock, SYSTEM, asked, 100)

    def __getitem__(self, name: str) -> str:
        value: str = getattr(self, name)
        return value


def make_operator(world: World, user: User) -> None:
    with writing(db.session):
        add_operator(db.session, world.clock, SYSTEM, get_user(db.session, user.id))


@dataclass(frozen=True)
class Endpoint:
    """One row of the table."""

    method: str
    path: str
    #: The scope it asks for; None where it asks for none and is about the signed-in user.
    scope: Scope | None
    answer: type[BaseModel]
    _: KW_ONLY
    user_only: bool = False
    owner_only: bool = False
    #: Only an operator of the server may.
    operator_only: bool = False
    #: Only API keys may, those of test, too; it stands outside of /sandbox.
    key_only: bool = False
    #: It changes what live and test share.
    changes_shared: bool = False
    #: It tells of live and test alike.
    tells_of_both: bool = False
    #: How it says which organization it is about.
    org_from: OrgFrom | OwnerLookup = OrgFrom.PATH
    body: Callable[[Stage], dict[str, Any]] | None = None

    @property
    def is_for_live_keys(self) -> bool:
        """Whether a test key is refused."""
        return self.changes_shared or self.tells_of_both

    @property
    def changes(self) -> bool:
        return self.method != "GET" and not self.key_only


@dataclass(frozen=True)
class Mounted:
    """An endpoint where it stands."""

    endpoint: Endpoint
    environment: Environment

    @property
    def path(self) -> str:
        return PREFIXES[self.environment] + self.endpoint.path

    @property
    def rule(self) -> tuple[str, str]:
        """The method and the rule as Flask writes it."""
        path = self.path.partition("?")[0]
        for word, parameter in PARAMETERS.items():
            path = path.replace(f"{{{word}}}", f"<{parameter}>")
        return self.endpoint.method, path

    def __str__(self) -> str:
        return f"{self.endpoint.method} {self.path}"

    def call(self, client: SeparateClient, stage: Stage, headers: dict[str, str]) -> TestResponse:
        body = self.endpoint.body(stage) if self.endpoint.body is not None else None
        path = self.path.format_map(stage)
        return client.open(path, method=self.endpoint.method, json=body, headers=headers)


#: What is sent, by its name.
BODIES: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "name": lambda _: {"name": "renamed"},
    "newcomer": lambda stage: {"user_id": stage.newcomer, "role": "member"},
    "member": lambda stage: {"user_id": stage.member},
    "address": lambda _: {"email": "someone@example.com", "role": "member"},
    "nothing": lambda _: {},
    "role": lambda _: {"role": "admin"},
    "proof": lambda stage: {
        "deliveries": [{"place": "env:/home/ada/.env#MUSHU_API_KEY", "digest": stage.pending_key_row.digest}]
    },
    "end": lambda stage: {"retires_at": rfc3339(stage.world.clock() + timedelta(days=1))},
    "digest": lambda stage: {"digest": stage.pending_key_row.digest},
    "settings": lambda _: {"default_scopes": ["read"], "max_key_age": "90d"},
    "app": lambda stage: {"org_id": stage.org, "bundle_id": "com.example.shop"},
    "phone": lambda _: {"user_id": "grace", "token": "5" * 64, "platform": "ios"},
    "file": lambda stage: {"org_id": stage.org, "filename": "a.txt", "content_type": "text/plain", "size_bytes": 5},
    "message": lambda _: {"user_id": "ada", "alert": {"title": "Hello", "body": "The parcel is here."}},
    "key": lambda _: {"key": "msk_live_1234"},
    "limits": lambda _: {"limits": ["1000/second"]},
    "policy": lambda stage: {"name": f"p-{secrets.token_hex(4)}", "org_id": stage.org, "scope": "read"},
    "bulk_message": lambda _: {"user_ids": ["ada", "grace"], "alert": {"body": "The shop is open."}},
}


#: About the server or the signed-in user; they stand once.
SINGLE = (
    Endpoint("POST", "/auth/logout", None, auth.LoggedOut, user_only=True),
    Endpoint("GET", "/auth/validate", None, auth.Validation, user_only=True),
    Endpoint("POST", "/auth/refresh", None, auth.Refreshed, user_only=True),
    Endpoint("GET", "/auth/tokens", None, auth.TokenList, user_only=True),
    Endpoint("DELETE", "/auth/tokens/{cli_token}", None, Deleted, user_only=True),
    Endpoint("GET", "/users/me", None, auth.Me, user_only=True),
    Endpoint("POST", "/invites/{token}/accept", None, invitations.Joined, user_only=True),
    Endpoint("POST", "/invites/{token}/decline", None, invitations.Declined, user_only=True),
    Endpoint("POST", "/policies", None, policies.Policy, user_only=True, operator_only=True, body=BODIES["policy"]),
    Endpoint("GET", "/policies", None, policies.PolicyList, user_only=True, operator_only=True),
    Endpoint("GET", "/policies/{policy}", None, policies.Policy, user_only=True, operator_only=True),
    Endpoint("PATCH", "/policies/{policy}", None, policies.Policy, user_only=True, operator_only=True,
             body=BODIES["limits"]),
    Endpoint("DELETE", "/policies/{policy}", None, policies.Policy, user_only=True, operator_only=True),
    Endpoint("POST", "/api-keys/verify", READ, verification.KeyVerifications, key_only=True, body=BODIES["key"]),
)  # fmt: skip

#: They stand for live, and under /sandbox for test.
TWICE = (
    Endpoint("POST", "/orgs", None, orgs.Org, user_only=True, body=BODIES["name"]),
    Endpoint("GET", "/orgs", READ, orgs.OrgList),
    Endpoint("GET", "/orgs/{org}", READ, orgs.Org),
    Endpoint("PATCH", "/orgs/{org}", ADMIN, orgs.Org, changes_shared=True, body=BODIES["name"]),
    Endpoint("DELETE", "/orgs/{org}", ADMIN, Deleted, user_only=True, owner_only=True, changes_shared=True),
    Endpoint("GET", "/orgs/{org}/members", READ, orgs.MemberList),
    Endpoint("POST", "/orgs/{org}/members", ADMIN, Member, changes_shared=True, body=BODIES["newcomer"]),
    Endpoint("GET", "/orgs/{org}/members/me", READ, Member, user_only=True),
    Endpoint("PATCH", "/orgs/{org}/members/{member}", ADMIN, Member, changes_shared=True, body=BODIES["role"]),
    Endpoint("DELETE", "/orgs/{org}/members/{member}", ADMIN, Deleted, changes_shared=True),
    Endpoint("POST", "/orgs/{org}/transfer", ADMIN, Member, user_only=True, owner_only=True,
             changes_shared=True, body=BODIES["member"]),
    Endpoint("POST", "/orgs/{org}/invites/email", ADMIN, invitations.Invitation, changes_shared=True,
             body=BODIES["address"]),
    Endpoint("POST", "/orgs/{org}/invites/link", ADMIN, invitations.Invitation, changes_shared=True,
             body=BODIES["role"]),
    Endpoint("GET", "/orgs/{org}/invites", ADMIN, invitations.InvitationList),
    Endpoint("DELETE", "/orgs/{org}/invites/{invitation}", ADMIN, Deleted, changes_shared=True),
    Endpoint("GET", "/orgs/{org}/audit", ADMIN, audit.AuditTrail, tells_of_both=True),
    Endpoint("GET", "/orgs/{org}/destinations", ADMIN, destinations.DestinationList),
    Endpoint("POST", "/orgs/{org}/api-keys", ADMIN, key_models.CreatedKey, body=BODIES["name"]),
    Endpoint("GET", "/orgs/{org}/api-keys", ADMIN, key_list_models.KeyList),
    Endpoint("GET", "/orgs/{org}/api-keys/summary", ADMIN, key_list_models.KeySummary),
    Endpoint("POST", "/orgs/{org}/api-keys/lookup", ADMIN, key_models.Key, body=BODIES["digest"]),
    Endpoint("GET", "/orgs/{org}/api-keys/{key}", ADMIN, key_models.Key),
    Endpoint("GET", "/orgs/{org}/api-keys/{key}/usage", ADMIN, key_models.KeyUsage),
    Endpoint("PATCH", "/orgs/{org}/api-keys/{key}", ADMIN, key_models.Key, body=BODIES["name"]),
    Endpoint("PATCH", "/orgs/{org}/api-keys/{key}/restrictions", ADMIN, key_models.Key, body=BODIES["limits"]),
    Endpoint("POST", "/orgs/{org}/api-keys/{key}/disable", ADMIN, key_models.Key),
    Endpoint("POST", "/orgs/{org}/api-keys/{disabled_key}/enable", ADMIN, key_models.Key),
    Endpoint("DELETE", "/orgs/{org}/api-keys/{key}", ADMIN, Deleted),
    Endpoint("POST", "/orgs/{org}/api-keys/{key}/rotate", ADMIN, key_models.CreatedKey, body=BODIES["nothing"]),
    Endpoint("POST", "/orgs/{org}/api-keys/{retiring_key}/extend", ADMIN, key_models.Key, body=BODIES["end"]),
    Endpoint("GET", "/orgs/{org}/api-keys/{key}/deliveries", ADMIN, key_models.KeyDeliveries),
    Endpoint("POST", "/orgs/{org}/api-keys/{pending_key}/delivered", ADMIN, key_models.Key, body=BODIES["proof"]),
    Endpoint("GET", "/orgs/{org}/settings", READ, orgs.OrgSettings),
    Endpoint("PATCH", "/orgs/{org}/settings", ADMIN, orgs.OrgSettings, changes_shared=True, body=BODIES["settings"]),
    Endpoint("GET", "/orgs/{org}/tenants", READ, tenants.TenantList),
    Endpoint("POST", "/tenants", ADMIN, tenants.Tenant, org_from=FIELD, body=BODIES["app"]),
    Endpoint("GET", "/tenants?org_id={org}", READ, tenants.TenantList, org_from=FIELD),
    Endpoint("GET", "/tenants/{tenant}", READ, tenants.Tenant, org_from=TENANT),
    Endpoint("PATCH", "/tenants/{tenant}", ADMIN, tenants.Tenant, org_from=TENANT, body=BODIES["nothing"]),
    Endpoint("DELETE", "/tenants/{tenant}", ADMIN, Deleted, org_from=TENANT),
    Endpoint("POST", "/tenants/{tenant}/api-keys", ADMIN, key_models.CreatedKey, org_from=TENANT, body=BODIES["name"]),
    Endpoint("POST", "/tenants/{tenant}/devices", WRITE, devices.Device, org_from=TENANT, body=BODIES["phone"]),
    Endpoint("GET", "/tenants/{tenant}/devices", READ, devices.DeviceList, org_from=TENANT),
    Endpoint("DELETE", "/tenants/{tenant}/devices/{device}", WRITE, Deleted, org_from=TENANT),
    Endpoint("POST", "/tenants/{tenant}/notify", WRITE, push.SentNotification, org_from=TENANT, body=BODIES["message"]),
    Endpoint("POST", "/tenants/{tenant}/notify/bulk", WRITE, push.SentBulkNotification, org_from=TENANT,
             body=BODIES["bulk_message"]),
    Endpoint("GET", "/tenants/{tenant}/notifications", READ, push.NotificationList, org_from=TENANT),
    Endpoint("GET", "/tenants/{tenant}/notifications/{message}", READ, push.NotificationDetail, org_from=TENANT),
    Endpoint("POST", "/media/upload-url", WRITE, media.UploadAddress, org_from=FIELD, body=BODIES["file"]),
    Endpoint("GET", "/media/org/{org}", READ, media.MediaList),
    Endpoint("GET", "/media/tenant/{tenant}", READ, media.MediaList, org_from=TENANT),
    Endpoint("GET", "/media/{picture}", READ, media.Media, org_from=MEDIA),
    Endpoint("DELETE", "/media/{picture}", WRITE, Deleted, org_from=MEDIA),
    Endpoint("POST", "/media/{arrived}/confirm", WRITE, media.ConfirmedMedia, org_from=MEDIA),
    Endpoint("GET", "/media/{picture}/url", READ, media.MediaUrl, org_from=MEDIA),
    Endpoint("GET", "/media/{picture}/images", READ, media.ImageUrls, org_from=MEDIA),
)  # fmt: skip

#: Second addresses of what stands above, for the published SDK: method, rule, and the rule that it stands for.
ALIASES = {
    (method, prefix + rule): (method, prefix + meant)
    for prefix in PREFIXES.values()
    for method, rule, meant in (
        ("POST", "/apps/<tenant_id>/devices", "/tenants/<tenant_id>/devices"),
        ("GET", "/apps/<tenant_id>/devices", "/tenants/<tenant_id>/devices"),
        ("DELETE", "/apps/<tenant_id>/devices/<token>", "/tenants/<tenant_id>/devices/<token>"),
        ("POST", "/apps/<tenant_id>/notify", "/tenants/<tenant_id>/notify"),
        ("POST", "/apps/<tenant_id>/notify/bulk", "/tenants/<tenant_id>/notify/bulk"),
        ("GET", "/media/app/<tenant_id>", "/media/tenant/<tenant_id>"),
    )
}

#: Open to everybody: method and rule.
PUBLIC = {
    ("GET", "/health"), ("GET", "/ready"), ("POST", "/auth/login"), ("POST", "/auth/device/code"),
    ("POST", "/auth/token"), ("POST", "/api-keys/validate"), ("POST", "/sandbox/api-keys/validate"),
    ("PUT", "/media/<media_id>/content"), ("GET", "/media/<media_id>/content"), ("GET", "/t/<variant>/<key>"),
    ("PUT", "/sandbox/media/<media_id>/content"), ("GET", "/sandbox/media/<media_id>/content"),
    ("GET", "/sandbox/t/<variant>/<key>"), ("GET", "/login"), ("POST", "/login"), ("GET", "/password/<link>"),
    ("POST", "/password/<link>"), ("GET", "/docs"), ("GET", "/forgotten-password"), ("POST", "/forgotten-password"),
    ("GET", "/openapi.json"), ("GET", "/static/<path:filename>"), ("GET", "/client/"), ("GET", "/client/<project>/"),
    ("GET", "/client/<stem>.whl"),
}  # fmt: skip

#: Pages for who is signed in in this browser, which no credential of the API opens: method and rule.
IN_BROWSER = {
    ("GET", "/"), ("GET", "/dashboard"), ("GET", "/dashboard/<path:rest>"), ("GET", "/account"), ("GET", "/outbox"),
    ("POST", "/logout"), ("GET", "/account/password"), ("POST", "/account/password"),
    ("POST", "/account/tokens/<token_id>/revoke"), ("POST", "/account/sessions/<session_id>/end"),
    ("GET", "/activate"), ("POST", "/activate"), ("POST", "/activate/decision"), ("GET", "/invites/<token>"),
    ("POST", "/invites/<token>"), ("GET", "/auth/apple/authorize"), ("POST", "/auth/apple/authorize"),
}  # fmt: skip

#: Pages of an organization, by method and rule below it, and the scope that they need; for live and for test.
PAGES_OF_AN_ORG = {
    ("GET", "/"): READ, ("GET", "/keys"): ADMIN, ("GET", "/keys/<key_id>"): ADMIN,
    ("GET", "/keys/new"): ADMIN, ("POST", "/keys/new"): ADMIN, ("POST", "/keys/picked"): ADMIN,
    ("POST", "/keys/picked/change"): ADMIN, ("POST", "/keys/<key_id>/put-away"): ADMIN,
    ("GET", "/keys/<key_id>/delivered"): ADMIN, ("POST", "/keys/<key_id>/disable"): ADMIN,
    ("POST", "/keys/<key_id>/enable"): ADMIN, ("GET", "/keys/<key_id>/delete"): ADMIN,
    ("POST", "/keys/<key_id>/delete"): ADMIN, ("GET", "/keys/<key_id>/rotate"): ADMIN,
    ("POST", "/keys/<key_id>/rotate"): ADMIN, ("GET", "/keys/<key_id>/rotation"): ADMIN,
    ("POST", "/keys/<key_id>/extend"): ADMIN, ("POST", "/keys/<key_id>/overwrite"): ADMIN,
    ("GET", "/destinations"): ADMIN, ("POST", "/destinations"): ADMIN, ("POST", "/destinations/<name>/check"): ADMIN,
    ("POST", "/keys/<key_id>/check"): ADMIN,
    ("GET", "/destinations/<name>/remove"): ADMIN, ("POST", "/destinations/<name>/remove"): ADMIN,
    ("GET", "/members"): READ, ("POST", "/members/<user_id>/role"): ADMIN, ("POST", "/members/invite"): ADMIN,
    ("GET", "/members/<user_id>/remove"): ADMIN, ("POST", "/members/<user_id>/remove"): ADMIN,
    ("GET", "/members/<user_id>/hand-over"): ADMIN, ("POST", "/members/<user_id>/hand-over"): ADMIN,
    ("POST", "/members/invitations/<invite_id>/cancel"): ADMIN, ("GET", "/audit"): ADMIN, ("GET", "/audit.csv"): ADMIN,
    ("GET", "/settings"): READ, ("POST", "/settings"): ADMIN, ("GET", "/settings/delete"): ADMIN,
    ("POST", "/settings/delete"): ADMIN,
}  # fmt: skip
#: Those of them that only an operator of the server may use.
PAGES_OF_OPERATORS = {
    ("POST", "/destinations"), ("GET", "/destinations/<name>/remove"), ("POST", "/destinations/<name>/remove"),
    ("POST", "/keys/<key_id>/overwrite"),
}  # fmt: skip
#: And those that only the owner may.
PAGES_OF_OWNERS = {
    ("GET", "/members/<user_id>/hand-over"), ("POST", "/members/<user_id>/hand-over"), ("GET", "/settings/delete"),
    ("POST", "/settings/delete"),
}  # fmt: skip
ORG_PAGES = {
    (method, f"/dashboard/<org_id>{sandbox}{rule}"): Requirement(
        scope,
        user_only=True,
        owner_only=(method, rule) in PAGES_OF_OWNERS,
        operator_only=(method, rule) in PAGES_OF_OPERATORS,
        # What both environments share: members, invitations, settings, and the organization itself.
        changes_shared=method == "POST" and rule.startswith(("/members", "/settings")),
    )
    for (method, rule), scope in PAGES_OF_AN_ORG.items()
    for sandbox in ("", "/sandbox")
}

#: Pages of the server, for operators who are signed in in this browser: method and rule.
SERVER_PAGES = {
    ("GET", "/dashboard/server/health"), ("GET", "/dashboard/server/policies"), ("POST", "/dashboard/server/policies"),
    ("GET", "/dashboard/server/policies/<name>/remove"), ("POST", "/dashboard/server/policies/<name>/remove"),
}  # fmt: skip

#: For programs that prove themselves as OAuth clients do, in a form of its own: method and rule.
BY_CLIENT_SECRET = {("POST", "/oauth/introspect")}

PUBLIC_ANSWERS: dict[tuple[str, str], type[BaseModel]] = {
    ("GET", "/health"): health.Health,
    ("GET", "/ready"): health.Readiness,
    ("POST", "/auth/login"): LoginAnswer,
    ("POST", "/auth/device/code"): auth.DeviceCode,
    ("POST", "/api-keys/validate"): keys.KeyValidation,
    ("POST", "/sandbox/api-keys/validate"): keys.KeyValidation,
}

MOUNTED = [
    *(Mounted(endpoint, LIVE) for endpoint in SINGLE),
    *(Mounted(endpoint, environment) for environment in (LIVE, TEST) for endpoint in TWICE),
]
OF_AN_ORG = [mounted for mounted in MOUNTED if "{org}" in mounted.path]
CHANGING = [mounted for mounted in MOUNTED if mounted.endpoint.changes]
