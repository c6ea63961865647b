"""Who may use a view, as one decorator on it says, and what a view may ask about who does.

`admission.py` decides by that before every view. A view without a decorator is refused to everybody, so that a
forgotten one opens nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from flask import g, request
from werkzeug.routing import Rule

from mushu.environment import Environment
from mushu.server.core import context_for, reader_in
from mushu.server.environments import Reader
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.access import OrgFrom, OwnerLookup, Requirement
from mushu.server.keys import Scope
from mushu.server.lifecycle.context import Context
from mushu.server.web.access_log import PRINCIPAL

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC: Final = "public"
BROWSER: Final = "browser"
_MARK: Final = "mushu_requirement"
IN_BODY: Final = "mushu_token_in_body"
AS_CLIENT: Final = "mushu_client_secret"
SANDBOX: Final = "/sandbox"
#: Under which the pages of an organization stand, those for test under `SANDBOX` there.
DASHBOARD: Final = "/dashboard/<org_id>"
_UNDER_SANDBOX: Final = (f"{SANDBOX}/", f"{DASHBOARD}{SANDBOX}/")


@dataclass(frozen=True, slots=True)
class OrgPage:
    """What a page of an organization, or of the server, asks of who is signed in in this browser."""

    requirement: Requirement


def public(view: View) -> View:
    """Let everybody in, without a credential."""
    return _mark(view, PUBLIC)


def in_browser(view: View) -> View:
    """Let in users who are signed in in this browser; send others to the sign-in page, and then back."""
    return _mark(view, BROWSER)


def org_page(
    scope: Scope, *, owner_only: bool = False, operator_only: bool = False, changes_shared: bool = False
) -> Callable[[View], View]:
    """Let in who is signed in in this browser and has `scope` in the organization of the path; others as `in_browser`.

    What this permits is proven again by each transaction that writes, as for the API.
    """
    requirement = Requirement(
        scope, user_only=True, owner_only=owner_only, operator_only=operator_only, changes_shared=changes_shared
    )
    return lambda view: _mark(view, OrgPage(requirement))


def server_page(view: View) -> View:
    """Let in operators who are signed in in this browser: for pages about what belongs to no organization."""
    return _mark(view, OrgPage(Requirement(None, user_only=True, operator_only=True)))


def signed_in(view: View) -> View:
    """Let in any signed-in user: for views about the user, not about an organization."""
    return _mark(view, Requirement(None, user_only=True))


def operator_only(view: View) -> View:
    """Let in users who are operators of this server: for views about what belongs to no organization."""
    return _mark(view, Requirement(None, user_only=True, operator_only=True))


def about_keys(view: View) -> View:
    """Let in API keys with `read`: for views about keys of the organization and environment of the one that asks."""
    return _mark(view, Requirement(Scope.READ, key_only=True))


def takes_client_secret(view: View) -> View:
    """Take the API key also as the secret of an OAuth client: by Basic, or from `client_secret` of a form."""
    setattr(view, AS_CLIENT, True)
    return view


def takes_token_in_body(view: View) -> View:
    """Where there is no header of ours, take the token from `refresh_token` or `access_token` of a JSON body.

    The published client sends it so when it swaps or revokes a token.
    """
    setattr(view, IN_BODY, True)
    return view


def requires(
    scope: Scope,
    *,
    owner_only: bool = False,
    user_only: bool = False,
    changes_shared: bool = False,
    tells_of_both: bool = False,
    org_from: OrgFrom | OwnerLookup = OrgFrom.PATH,
) -> Callable[[View], View]:
    """Let in who has `scope` in the organization of the request, or in any if the request is about none."""
    requirement = Requirement(
        scope,
        user_only=user_only,
        owner_only=owner_only,
        changes_shared=changes_shared,
        tells_of_both=tells_of_both,
        org_from=org_from,
    )
    return lambda view: _mark(view, requirement)


def requirement_of(view: Callable[..., Any]) -> Requirement | OrgPage | str | None:
    """Return the mark of a view: a requirement, `PUBLIC`, `BROWSER`, or None if it was forgotten."""
    return cast(Requirement | OrgPage | str | None, getattr(view, _MARK, None))


def current_principal() -> Principal:
    """Return who makes this request; views that are public may not call this."""
    return cast(Principal, g.principal)


def current_user() -> UserPrincipal:
    """Return the user who makes this request; only views for users may call this."""
    return cast(UserPrincipal, g.principal)


def current_org() -> str:
    """Return the organization that this request is about; views without it in their path ask for it here."""
    return cast(str, g.org_id)


def current_environment() -> Environment:
    """Return the environment that the path stands for: the one place where it is decided."""
    rule = request.url_rule
    return Environment.LIVE if rule is None else environment_of(rule)


def current_reader() -> Reader:
    """Return what reads for this request where nothing is to be changed."""
    return reader_in(current_environment())


def current_context() -> Context:
    """Return what a verb needs to act for who makes this request, on keys of its organization and environment."""
    return context_for(current_principal().actor, current_org(), current_environment())


def name_in_access_log(principal: Principal, environ: "WSGIEnvironment") -> None:
    """Have the access log name who makes this request, or the key that it asks about."""
    environ[PRINCIPAL] = principal.key_id if isinstance(principal, KeyPrincipal) else principal.user_id


def environment_of(rule: Rule) -> Environment:
    return Environment.TEST if rule.rule.startswith(_UNDER_SANDBOX) else Environment.LIVE


def _mark(view: View, requirement: Requirement | OrgPage | str) -> View:
    if requirement_of(view) is not None:
        raise TypeError(f"{view.__name__} says twice who may use it")
    setattr(view, _MARK, requirement)
    return view
