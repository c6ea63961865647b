"""Who may call what, written by hand from the design (section 6), and not derived from the marks in the code."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.server.audit.service import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import writing
from mushu.server.environments import within
from mushu.server.gate.owners import OrgFrom, OwnerLookup
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.scopes import Scope
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE
from mushu.server.lifecycle.issue import issue
from mushu.server.orgs.invitations import InvitationTerms, invite_by_link
from mushu.server.orgs.models import Organization, Role
from mushu.server.resources.devices import Registration, register_device
from mushu.server.resources.media.models import MediaItem
from mushu.server.resources.media.service import MEDIA, Announcement, announce, mark_ready, mark_uploaded
from mushu.server.resources.notifications.service import NotificationRequest, record_notification
from mushu.server.resources.tenants.service import TENANT, TenantRequest, create_tenant, get_tenant
from mushu.server.tokens.service import issue_token
from mushu.server.users.models import User
from mushu.server.web.api import (
    auth,
    destinations,
    device_flow,
    devices,
    health,
    invitations,
    key_models,
    key_validation,
    media,
    members,
    orgs,
    push,
    tenants,
)
from mushu.server.web.api.models import Deleted, LoginAnswer, Member
from tests.server.conftest import World, bearer
from tests.server.verbs import BY_CLIENT
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
    "tenant": "tenant_id",
    "device": "token",
    "message": "message_id",
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
        return self.world.org()

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


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One row of the table."""

    method: str
    path: str
    #: The scope it asks for; None where it asks for none and is about the signed-in user.
    scope: Scope | None
    answer: type[BaseModel]
    user_only: bool = False
    owner_only: bool = False
    #: It changes what live and test share.
    changes_shared: bool = False
    #: How it says which organization it is about.
    org_from: OrgFrom | OwnerLookup = OrgFrom.PATH
    body: Callable[[Stage], dict[str, Any]] | None = None

    @property
    def changes(self) -> bool:
        return self.method != "GET"


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


def _name(_: Stage) -> dict[str, Any]:
    return {"name": "renamed"}


def _newcomer(stage: Stage) -> dict[str, Any]:
    return {"user_id": stage.newcomer, "role": "member"}


def _member(stage: Stage) -> dict[str, Any]:
    return {"user_id": stage.member}


def _address(_: Stage) -> dict[str, Any]:
    return {"email": "someone@example.com", "role": "member"}


def _nothing(_: Stage) -> dict[str, Any]:
    return {}


def _role(_: Stage) -> dict[str, Any]:
    return {"role": "admin"}


def _proof(stage: Stage) -> dict[str, Any]:
    return {"deliveries": [{"place": "env:/home/ada/.env#MUSHU_API_KEY", "digest": stage.pending_key_row.digest}]}


def _digest(stage: Stage) -> dict[str, Any]:
    return {"digest": stage.pending_key_row.digest}


def _settings(_: Stage) -> dict[str, Any]:
    return {"default_scopes": ["read"], "max_key_age": "90d"}


def _app(stage: Stage) -> dict[str, Any]:
    return {"org_id": stage.org, "bundle_id": "com.example.shop"}


def _phone(_: Stage) -> dict[str, Any]:
    return {"user_id": "grace", "token": "5" * 64, "platform": "ios"}


def _file(stage: Stage) -> dict[str, Any]:
    return {"org_id": stage.org, "filename": "a.txt", "content_type": "text/plain", "size_bytes": 5}


def _message(_: Stage) -> dict[str, Any]:
    return {"user_id": "ada", "alert": {"title": "Hello", "body": "The parcel is here."}}


def _bulk_message(_: Stage) -> dict[str, Any]:
    return {"user_ids": ["ada", "grace"], "alert": {"body": "The shop is open."}}


#: About the server or the signed-in user; they stand once.
SINGLE = (
    Endpoint(method="POST", path="/auth/logout", scope=None, user_only=True, answer=auth.LoggedOut),
    Endpoint(method="GET", path="/auth/validate", scope=None, user_only=True, answer=auth.Validation),
    Endpoint(method="POST", path="/auth/refresh", scope=None, user_only=True, answer=auth.Refreshed),
    Endpoint(method="GET", path="/auth/tokens", scope=None, user_only=True, answer=auth.TokenList),
    Endpoint(method="DELETE", path="/auth/tokens/{cli_token}", scope=None, user_only=True, answer=Deleted),
    Endpoint(method="GET", path="/users/me", scope=None, user_only=True, answer=auth.Me),
    Endpoint(method="POST", path="/invites/{token}/accept", scope=None, user_only=True, answer=invitations.Joined),
    Endpoint(method="POST", path="/invites/{token}/decline", scope=None, user_only=True, answer=invitations.Declined),
)

#: They stand for live, and under /sandbox for test.
TWICE = (
    Endpoint(method="POST", path="/orgs", scope=None, user_only=True, body=_name, answer=orgs.Org),
    Endpoint(method="GET", path="/orgs", scope=READ, answer=orgs.OrgList),
    Endpoint(method="GET", path="/orgs/{org}", scope=READ, answer=orgs.Org),
    Endpoint(method="PATCH", path="/orgs/{org}", scope=ADMIN, changes_shared=True, body=_name, answer=orgs.Org),
    Endpoint(
        method="DELETE", path="/orgs/{org}", scope=ADMIN, user_only=True, owner_only=True, changes_shared=True,
        answer=Deleted,
    ),
    Endpoint(method="GET", path="/orgs/{org}/members", scope=READ, answer=members.MemberList),
    Endpoint(
        method="POST", path="/orgs/{org}/members", scope=ADMIN, changes_shared=True, body=_newcomer,
        answer=Member,
    ),
    Endpoint(method="GET", path="/orgs/{org}/members/me", scope=READ, user_only=True, answer=Member),
    Endpoint(
        method="PATCH", path="/orgs/{org}/members/{member}", scope=ADMIN, changes_shared=True, body=_role,
        answer=Member,
    ),
    Endpoint(
        method="DELETE", path="/orgs/{org}/members/{member}", scope=ADMIN, changes_shared=True, answer=Deleted
    ),
    Endpoint(
        method="POST", path="/orgs/{org}/transfer", scope=ADMIN, user_only=True, owner_only=True, changes_shared=True,
        body=_member, answer=Member,
    ),
    Endpoint(
        method="POST", path="/orgs/{org}/invites/email", scope=ADMIN, changes_shared=True, body=_address,
        answer=invitations.Invitation,
    ),
    Endpoint(
        method="POST", path="/orgs/{org}/invites/link", scope=ADMIN, changes_shared=True, body=_role,
        answer=invitations.Invitation,
    ),
    Endpoint(method="GET", path="/orgs/{org}/invites", scope=ADMIN, answer=invitations.InvitationList),
    Endpoint(
        method="DELETE", path="/orgs/{org}/invites/{invitation}", scope=ADMIN, changes_shared=True, answer=Deleted
    ),
    Endpoint(method="GET", path="/orgs/{org}/destinations", scope=ADMIN, answer=destinations.DestinationList),
    Endpoint(method="POST", path="/orgs/{org}/api-keys", scope=ADMIN, body=_name, answer=key_models.CreatedKey),
    Endpoint(method="GET", path="/orgs/{org}/api-keys", scope=ADMIN, answer=key_models.KeyList),
    Endpoint(method="POST", path="/orgs/{org}/api-keys/lookup", scope=ADMIN, body=_digest, answer=key_models.Key),
    Endpoint(method="GET", path="/orgs/{org}/api-keys/{key}", scope=ADMIN, answer=key_models.Key),
    Endpoint(method="PATCH", path="/orgs/{org}/api-keys/{key}", scope=ADMIN, body=_name, answer=key_models.Key),
    Endpoint(method="POST", path="/orgs/{org}/api-keys/{key}/disable", scope=ADMIN, answer=key_models.Key),
    Endpoint(method="POST", path="/orgs/{org}/api-keys/{disabled_key}/enable", scope=ADMIN, answer=key_models.Key),
    Endpoint(method="DELETE", path="/orgs/{org}/api-keys/{key}", scope=ADMIN, answer=Deleted),
    Endpoint(
        method="POST",
        path="/orgs/{org}/api-keys/{key}/rotate",
        scope=ADMIN,
        body=_nothing,
        answer=key_models.CreatedKey,
    ),
    Endpoint(
        method="GET", path="/orgs/{org}/api-keys/{key}/deliveries", scope=ADMIN, answer=key_models.KeyDeliveries
    ),
    Endpoint(
        method="POST",
        path="/orgs/{org}/api-keys/{pending_key}/delivered",
        scope=ADMIN,
        body=_proof,
        answer=key_models.Key,
    ),
    Endpoint(method="GET", path="/orgs/{org}/settings", scope=READ, answer=orgs.OrgSettings),
    Endpoint(
        method="PATCH", path="/orgs/{org}/settings", scope=ADMIN, changes_shared=True, body=_settings,
        answer=orgs.OrgSettings,
    ),
    Endpoint(method="GET", path="/orgs/{org}/tenants", scope=READ, answer=tenants.TenantList),
    Endpoint(method="POST", path="/tenants", scope=ADMIN, org_from=FIELD, body=_app, answer=tenants.Tenant),
    Endpoint(method="GET", path="/tenants?org_id={org}", scope=READ, org_from=FIELD, answer=tenants.TenantList),
    Endpoint(method="GET", path="/tenants/{tenant}", scope=READ, org_from=TENANT, answer=tenants.Tenant),
    Endpoint(
        method="PATCH", path="/tenants/{tenant}", scope=ADMIN, org_from=TENANT, body=_nothing, answer=tenants.Tenant
    ),
    Endpoint(method="DELETE", path="/tenants/{tenant}", scope=ADMIN, org_from=TENANT, answer=Deleted),
    Endpoint(
        method="POST", path="/tenants/{tenant}/api-keys", scope=ADMIN, org_from=TENANT, body=_name,
        answer=key_models.CreatedKey,
    ),
    Endpoint(
        method="POST", path="/tenants/{tenant}/devices", scope=WRITE, org_from=TENANT, body=_phone,
        answer=devices.Device,
    ),
    Endpoint(
        method="GET", path="/tenants/{tenant}/devices", scope=READ, org_from=TENANT, answer=devices.DeviceList
    ),
    Endpoint(method="DELETE", path="/tenants/{tenant}/devices/{device}", scope=WRITE, org_from=TENANT, answer=Deleted),
    Endpoint(
        method="POST", path="/tenants/{tenant}/notify", scope=WRITE, org_from=TENANT, body=_message,
        answer=push.SentNotification,
    ),
    Endpoint(
        method="POST", path="/tenants/{tenant}/notify/bulk", scope=WRITE, org_from=TENANT, body=_bulk_message,
        answer=push.SentBulkNotification,
    ),
    Endpoint(
        method="GET", path="/tenants/{tenant}/notifications", scope=READ, org_from=TENANT, answer=push.NotificationList
    ),
    Endpoint(
        method="GET", path="/tenants/{tenant}/notifications/{message}", scope=READ, org_from=TENANT,
        answer=push.NotificationDetail,
    ),
    Endpoint(
        method="POST", path="/media/upload-url", scope=WRITE, org_from=FIELD, body=_file, answer=media.UploadAddress
    ),
    Endpoint(method="GET", path="/media/org/{org}", scope=READ, answer=media.MediaList),
    Endpoint(
        method="GET", path="/media/tenant/{tenant}", scope=READ, org_from=TENANT, answer=media.MediaList
    ),
    Endpoint(method="GET", path="/media/{picture}", scope=READ, org_from=MEDIA, answer=media.Media),
    Endpoint(method="DELETE", path="/media/{picture}", scope=WRITE, org_from=MEDIA, answer=Deleted),
    Endpoint(
        method="POST", path="/media/{arrived}/confirm", scope=WRITE, org_from=MEDIA, answer=media.ConfirmedMedia
    ),
    Endpoint(method="GET", path="/media/{picture}/url", scope=READ, org_from=MEDIA, answer=media.MediaUrl),
    Endpoint(method="GET", path="/media/{picture}/images", scope=READ, org_from=MEDIA, answer=media.ImageUrls),
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
    ("GET", "/health"),
    ("POST", "/auth/login"),
    ("POST", "/auth/device/code"),
    ("POST", "/auth/token"),
    ("POST", "/api-keys/validate"),
    ("POST", "/sandbox/api-keys/validate"),
    ("PUT", "/media/<media_id>/content"),
    ("GET", "/media/<media_id>/content"),
    ("GET", "/t/<variant>/<key>"),
    ("PUT", "/sandbox/media/<media_id>/content"),
    ("GET", "/sandbox/media/<media_id>/content"),
    ("GET", "/sandbox/t/<variant>/<key>"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/password/<link>"),
    ("POST", "/password/<link>"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/static/<path:filename>"),
}

#: Pages for who is signed in in this browser, which no credential of the API opens: method and rule.
IN_BROWSER = {
    ("GET", "/"),
    ("GET", "/outbox"),
    ("POST", "/logout"),
    ("GET", "/account/password"),
    ("POST", "/account/password"),
    ("POST", "/account/tokens/<token_id>/revoke"),
    ("POST", "/account/sessions/<session_id>/end"),
    ("GET", "/activate"),
    ("POST", "/activate"),
    ("POST", "/activate/decision"),
    ("GET", "/invites/<token>"),
    ("POST", "/invites/<token>"),
    ("GET", "/auth/apple/authorize"),
    ("POST", "/auth/apple/authorize"),
}

PUBLIC_ANSWERS: dict[tuple[str, str], type[BaseModel]] = {
    ("GET", "/health"): health.Health,
    ("POST", "/auth/login"): LoginAnswer,
    ("POST", "/auth/device/code"): device_flow.DeviceCode,
    ("POST", "/api-keys/validate"): key_validation.KeyValidation,
    ("POST", "/sandbox/api-keys/validate"): key_validation.KeyValidation,
}

MOUNTED = [
    *(Mounted(endpoint, LIVE) for endpoint in SINGLE),
    *(Mounted(endpoint, environment) for environment in (LIVE, TEST) for endpoint in TWICE),
]
OF_AN_ORG = [mounted for mounted in MOUNTED if "{org}" in mounted.path]
CHANGING = [mounted for mounted in MOUNTED if mounted.endpoint.changes]
