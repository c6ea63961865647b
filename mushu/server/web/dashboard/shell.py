"""What surrounds each page of an organization: its name, the menu, the switch to the sandbox, and who is there."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from flask import Response, make_response, render_template, request
from markupsafe import Markup

from mushu.environment import Environment
from mushu.server.core import get_core
from mushu.server.gate.access import ROLE_SCOPES, scopes_in
from mushu.server.keys import Scope
from mushu.server.orgs.members import find_role
from mushu.server.orgs.models import Role
from mushu.server.orgs.service import read_org, read_orgs_of_user
from mushu.server.web.guard import current_environment, current_org, current_reader, current_user
from mushu.server.web.sessions import require_session_user
from mushu.server.web.templating import address, address_under

LIVE: Final = "dashboard"
SANDBOX: Final = "sandbox_dashboard"
#: Organizations that the switch offers; the page of all has the others.
_OFFERED: Final = 20


@dataclass(frozen=True, slots=True)
class MenuLink:
    """A line of the menu."""

    name: str
    icon: str
    href: str


def _of_server() -> list[MenuLink]:
    return [
        MenuLink("Server health", "heart-pulse", address("server_pages.show_health")),
        MenuLink("Gate policies", "shield-check", address("server_pages.show_policies")),
    ]


@dataclass(frozen=True, slots=True)
class Shell:
    """What a page shows beside its own content."""

    #: The organization, and those that the switch offers, with `id` and `name` of each.
    org: Any
    orgs: tuple[Any, ...]
    role: Role
    email: str
    #: Whether who is there may see what belongs to the server, such as files that destinations name.
    is_operator: bool
    environment: Environment

    @property
    def is_sandbox(self) -> bool:
        return self.environment is Environment.TEST

    @property
    def live_home(self) -> str:
        return address(f"{LIVE}.show_home", org_id=self.org.id)

    @property
    def sandbox_home(self) -> str:
        return address(f"{SANDBOX}.show_home", org_id=self.org.id)

    @property
    def is_admin(self) -> bool:
        """Tell whether who is there may manage keys."""
        return Scope.ADMIN in ROLE_SCOPES[self.role]

    @property
    def base_url(self) -> str:
        """Return the address of the server, as commands take it."""
        return get_core().settings.base_url

    def side(self, here: str) -> Markup:
        """Return the header of a page, up to the form that signs out: that one has a token.

        Args:
            here: the line of the menu that stands for the page.
        """
        return _side(self, here, request.script_root, request.blueprint)

    @property
    def menu(self) -> list[tuple[str, list[MenuLink]]]:
        """Return what the menu offers to this role, under its headings: pages that exist."""
        to = pages_here()
        keys = [MenuLink("Home", "house", to("show_home"))]
        if self.is_admin:
            keys.append(MenuLink("Keys", "key-round", to("show_keys")))
            keys.append(MenuLink("Destinations", "map-pin", to("show_destinations")))
            keys.append(MenuLink("Audit log", "scroll-text", to("show_audit_log")))
        return [
            ("Keys", keys),
            ("Development", [MenuLink("Outbox", "bell", address("account.show_outbox"))]),
            (
                "Organization",
                [
                    MenuLink("Members", "users", to("show_members")),
                    MenuLink("Settings", "settings", to("show_settings")),
                ],
            ),
            *([("Server", _of_server())] if self.is_operator else []),
        ]


@lru_cache(maxsize=512)
def _side(shell: Shell, here: str, _prefix: str, _pages: str | None) -> Markup:
    """Return what `Shell.side` does; all that it is made of is given, so that it is drawn once."""
    return Markup(render_template("dashboard/side.html", shell=shell, here=here, to=pages_here()))  # noqa: S704


def is_admin() -> bool:
    """Tell whether who is there may manage the keys of the current organization."""
    return Scope.ADMIN in scopes_in(current_reader(), current_user(), current_org())


def to(view: str, **named: Any) -> str:
    """Return the address of a page of this organization and environment."""
    return pages_here()(view, **named)


def pages_here() -> Callable[..., str]:
    """Return `to`, for who asks many times: where the request is is looked up once."""
    prefix, pages, org_id = request.script_root, request.blueprint, current_org()
    return lambda view, **named: address_under(prefix, f"{pages}.{view}", **{"org_id": org_id} | named)


def page(template: str, status: HTTPStatus = HTTPStatus.OK, **shown: Any) -> Response:
    """Return a page of the current organization, of a template of `templates/dashboard`."""
    return make_response(
        render_template(f"dashboard/{template}.html", shell=_shell(), to=pages_here(), **shown), status
    )


def _shell() -> Shell:
    user, org_id, reader = require_session_user(), current_org(), current_reader()
    orgs = read_orgs_of_user(reader, user.id, _OFFERED)
    here = next((org for org in orgs if org.id == org_id), None)
    org = here or read_org(reader, org_id)
    role = Role(here.role) if here else find_role(reader, org_id, user.id) or Role.MEMBER
    return Shell(org, tuple(orgs), role, user.email, user.operator_since is not None, current_environment())
