"""Runs before every view and asks in this order: who is it, and may they do this.

Every transaction of the view that writes decides the same again (`gate/proof.py`); no view has to ask.

A view says with exactly one decorator who may use it. A view without one is refused to everybody, so that a forgotten
decorator opens nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from flask import Flask, Request, Response, after_this_request, g, request
from flask.globals import request_ctx
from werkzeug import Response as BaseResponse
from werkzeug.routing import Rule

from mushu.environment import Environment
from mushu.server.client_address import client_address
from mushu.server.core import context_for, core_of, forget_proof, gate_reader_in, reader_in, tell_session
from mushu.server.environments import Reader
from mushu.server.errors import Forbidden, OrgNotFound, RateLimited, SessionEnded, Unauthenticated
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.access import OrgFrom, OwnerLookup, Requirement, admit
from mushu.server.gate.credential import Credential, is_foreign, read_client, read_headers, read_token
from mushu.server.gate.principal import authenticate
from mushu.server.gate.proof import PageProof, RequestProof, page_principal
from mushu.server.keys import Scope
from mushu.server.lifecycle.context import Context
from mushu.server.limiter import Fields
from mushu.server.web.access_log import PRINCIPAL
from mushu.server.web.bodies import find_json_object, json_object
from mushu.server.web.extensions import count, count_denial
from mushu.server.web.sessions import ask_to_sign_in, require_session_user, session_proof, signed_in_user

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

View = TypeVar("View", bound=Callable[..., Any])

PUBLIC: Final = "public"
BROWSER: Final = "browser"
_MARK: Final = "mushu_requirement"
_IN_BODY: Final = "mushu_token_in_body"
_AS_CLIENT: Final = "mushu_client_secret"
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


def org_page(scope: Scope, *, owner_only: bool = False, operator_only: bool = False) -> Callable[[View], View]:
    """Let in who is signed in in this browser and has `scope` in the organization of the path; others as `in_browser`.

    What this permits is proven again by each transaction that writes, as for the API.
    """
    asked = OrgPage(Requirement(scope, user_only=True, owner_only=owner_only, operator_only=operator_only))
    return lambda view: _mark(view, asked)


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
    setattr(view, _AS_CLIENT, True)
    return view


def takes_token_in_body(view: View) -> View:
    """Where there is no header of ours, take the token from `refresh_token` or `access_token` of a JSON body.

    The published client sends it so when it swaps or revokes a token.
    """
    setattr(view, _IN_BODY, True)
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
    return Environment.LIVE if rule is None else _environment_of(rule)


def current_reader() -> Reader:
    """Return what reads for this request where nothing is to be changed."""
    return reader_in(current_environment())


def current_context() -> Context:
    """Return what a verb needs to act for who makes this request, on keys of its organization and environment."""
    return context_for(current_principal().actor, current_org(), current_environment())


def name_in_access_log(principal: Principal, environ: "WSGIEnvironment") -> None:
    """Have the access log name who makes this request, or the key that it asks about."""
    environ[PRINCIPAL] = principal.key_id if isinstance(principal, KeyPrincipal) else principal.user_id


def guard() -> BaseResponse | None:
    """Decide about the request: let it pass, raise an error of the tree, or redirect to the sign-in page."""
    context = cast(Any, request_ctx)._get_current_object()  # noqa: SLF001 - each look through a proxy costs
    asked: Request = context.request
    rule = asked.url_rule
    if rule is None or asked.method == "OPTIONS":
        return None
    environment = _environment_of(rule)
    view = context.app.view_functions[rule.endpoint]
    requirement = requirement_of(view)
    if isinstance(requirement, Requirement):
        try:
            _admit(context.app, asked, requirement, environment, _credential(asked, view))
        except (Forbidden, OrgNotFound, RateLimited, Unauthenticated) as refusal:
            count_denial(context.app, asked.environ, g.principal if PRINCIPAL in asked.environ else None, refusal)
            raise
    else:
        tell_session(environment, None)
        if requirement == BROWSER or isinstance(requirement, OrgPage):
            user = signed_in_user()
            if user is None:
                return _sign_in_first(asked, requirement)
            asked.environ[PRINCIPAL] = user.id
            tell_session(environment, session_proof())
            if isinstance(requirement, OrgPage):
                _admit_to_page(context.app, asked, requirement.requirement, environment)
        elif requirement != PUBLIC:
            raise Forbidden("This endpoint says nothing about who may use it, so nobody may: a fault of the server.")
    if "body" in getattr(view, "__annotations__", {}):
        json_object()  # flask-openapi reads it later, and would take a fault for no body
    return None


def install(app: Flask) -> None:
    app.before_request(guard)
    app.teardown_request(lambda _: forget_proof())


def _environment_of(rule: Rule) -> Environment:
    return Environment.TEST if rule.rule.startswith(_UNDER_SANDBOX) else Environment.LIVE


def _sign_in_first(asked: Request, requirement: OrgPage | str) -> BaseResponse:
    """Send the browser to the sign-in page; a form of an organization is told that it changed nothing."""
    if isinstance(requirement, OrgPage) and asked.method not in ("GET", "HEAD"):
        raise SessionEnded("Your session has ended, and this changed nothing. Sign in again.")
    return ask_to_sign_in()


def _admit_to_page(app: Flask, asked: Request, requirement: Requirement, environment: Environment) -> None:
    proof, known = session_proof(), cast(Any, g)._get_current_object()  # noqa: SLF001
    known.principal = principal = page_principal(require_session_user())
    named = (_named(asked, requirement.org_from) or "") if requirement.scope is not None else None
    admit(reader_in(environment, app), principal, requirement, environment, named)
    known.org_id = named
    tell_session(environment, PageProof(proof, requirement, environment, named))


def _credential(asked: Request, view: Callable[..., Any]) -> Credential:
    authorization, x_api_key = asked.environ.get("HTTP_AUTHORIZATION"), asked.environ.get("HTTP_X_API_KEY")
    if hasattr(view, _AS_CLIENT):
        return read_client(authorization, x_api_key, asked.form.get("client_secret"))
    of_ours = x_api_key is not None or (authorization is not None and not is_foreign(authorization))
    if not of_ours and hasattr(view, _IN_BODY):
        body = find_json_object() or {}
        token = body.get("refresh_token") or body.get("access_token")
        if isinstance(token, str):
            return read_token(token)
    return read_headers(authorization, x_api_key)


def _admit(
    app: Flask, asked: Request, requirement: Requirement, environment: Environment, credential: Credential
) -> None:
    core, named = core_of(app), _named(asked, requirement.org_from)
    clock, known = core.clock, cast(Any, g)._get_current_object()  # noqa: SLF001
    known.principal = principal = authenticate(gate_reader_in(environment, app), clock, credential)
    name_in_access_log(principal, asked.environ)
    count(app, asked.environ, principal)  # before anything is refused: such a key is in use all the same
    address = partial(client_address, asked.environ, core.settings.client_address_header)
    bounds = principal.bounds
    if bounds is not None:
        bounds.require_network(address())
    known.org_id = org_id = admit(reader_in(environment, app), principal, requirement, environment, named)
    proof = RequestProof(
        clock=clock,
        credential=credential,
        requirement=requirement,
        environment=environment,
        named=named,
        principal=principal,
        org_id=org_id,
        address=address,
    )
    if bounds is not None and bounds.windows:  # what is refused for other reasons is not counted
        fields = core.limiter.take(bounds.windows, clock().timestamp())
        after_this_request(partial(_tell, fields))
    tell_session(environment, proof)


def _tell(fields: Fields, response: Response) -> Response:
    response.headers.extend(fields)
    return response


def _named(asked: Request, org_from: OrgFrom | OwnerLookup) -> str | None:
    """Return the organization or resource that the request names; what is not text is refused later, as any field."""
    match org_from:
        case OrgFrom.PATH:
            named = (asked.view_args or {}).get("org_id")
        case OrgFrom.FIELD if asked.method == "GET":
            named = asked.args.get("org_id")
        case OrgFrom.FIELD:
            named = (find_json_object() or {}).get("org_id")
        case OwnerLookup(resource):
            named = (asked.view_args or {}).get(f"{resource}_id")
    return named if isinstance(named, str) else None


def _mark(view: View, requirement: Requirement | OrgPage | str) -> View:
    if requirement_of(view) is not None:
        raise TypeError(f"{view.__name__} says twice who may use it")
    setattr(view, _MARK, requirement)
    return view
