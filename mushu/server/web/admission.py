"""Runs before every view and asks in this order: who is it, and may they do this (`guard.py` has what views say).

Every transaction of the view that writes decides the same again (`gate/proof.py`); no view has to ask.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Request, Response, after_this_request, g
from flask.globals import request_ctx
from werkzeug import Response as BaseResponse

from mushu.environment import Environment
from mushu.server.client_address import client_address
from mushu.server.core import core_of, forget_proof, gate_reader_in, reader_in, resolve_once, tell_session
from mushu.server.errors import Forbidden, OrgNotFound, RateLimited, SessionEnded, Unauthenticated
from mushu.server.gate.access import OrgFrom, OwnerLookup, Requirement, admit
from mushu.server.gate.credential import Credential, is_foreign, read_client, read_headers, read_token
from mushu.server.gate.principal import identify_by
from mushu.server.gate.proof import PageProof, RequestProof, page_principal
from mushu.server.limiter import Fields
from mushu.server.web.access_log import PRINCIPAL
from mushu.server.web.bodies import find_json_object, json_object
from mushu.server.web.extensions import count, count_denial
from mushu.server.web.guard import (
    AS_CLIENT,
    BROWSER,
    IN_BODY,
    PUBLIC,
    OrgPage,
    environment_of,
    name_in_access_log,
    requirement_of,
)
from mushu.server.web.sessions import ask_to_sign_in, require_session_user, session_proof, signed_in_user


def decide() -> BaseResponse | None:
    """Decide about the request: let it pass, raise an error of the tree, or redirect to the sign-in page."""
    context = resolve_once(request_ctx)
    asked: Request = context.request
    rule = asked.url_rule
    if rule is None or asked.method == "OPTIONS":
        return None
    environment = environment_of(rule)
    view = context.app.view_functions[rule.endpoint]
    requirement = requirement_of(view)
    if isinstance(requirement, Requirement):
        try:
            _admit(context.app, asked, requirement, environment, *_sent(asked, view))
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
        json_object()  # what cannot be understood is refused before what is wrong in it, or beside it
    return None


def _sign_in_first(asked: Request, requirement: OrgPage | str) -> BaseResponse:
    """Send the browser to the sign-in page; a form of an organization is told that it changed nothing."""
    if isinstance(requirement, OrgPage) and asked.method not in ("GET", "HEAD"):
        raise SessionEnded("Your session has ended, and this changed nothing. Sign in again.")
    return ask_to_sign_in()


def _admit_to_page(app: Flask, asked: Request, requirement: Requirement, environment: Environment) -> None:
    proof, known = session_proof(), resolve_once(g)
    known.principal = principal = page_principal(require_session_user())
    named = (_named(asked, requirement.org_from) or "") if requirement.scope is not None else None
    admit(reader_in(environment, app), principal, requirement, environment, named)
    known.org_id = named
    tell_session(environment, PageProof(proof, requirement, environment, named))


def _sent(asked: Request, view: Callable[..., Any]) -> tuple[Callable[..., Credential], *tuple[str | None, ...]]:
    """Return what reads the credential of a request, and in which texts it was sent."""
    authorization, x_api_key = asked.environ.get("HTTP_AUTHORIZATION"), asked.environ.get("HTTP_X_API_KEY")
    if hasattr(view, AS_CLIENT):
        return read_client, authorization, x_api_key, asked.form.get("client_secret")
    of_ours = x_api_key is not None or (authorization is not None and not is_foreign(authorization))
    if not of_ours and hasattr(view, IN_BODY):
        body = find_json_object() or {}
        token = body.get("refresh_token") or body.get("access_token")
        if isinstance(token, str):
            return read_token, token
    return read_headers, authorization, x_api_key


def _admit(
    app: Flask,
    asked: Request,
    requirement: Requirement,
    environment: Environment,
    read: Callable[..., Credential],
    *sent: str | None,
) -> None:
    core, known = core_of(app), resolve_once(g)
    clock = core.clock
    principal = identify_by(gate_reader_in(environment, app), clock(), read, *sent).principal
    named = _named(asked, requirement.org_from)  # a body is looked into for nobody who is not known
    known.principal = principal
    name_in_access_log(principal, asked.environ)
    address = partial(client_address, asked.environ, core.settings.client_address_header)
    bounds = principal.bounds
    if bounds is not None:
        bounds.require_network(address())  # from elsewhere a key is not in use, and none before it may retire
    count(app, asked.environ, principal)  # before anything else is refused: such a key is in use all the same
    known.org_id = org_id = admit(reader_in(environment, app), principal, requirement, environment, named)
    proof = RequestProof(
        clock=clock,
        read=partial(read, *sent),
        requirement=requirement,
        environment=environment,
        named=named,
        path=asked.view_args or {},
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


def install(app: Flask) -> None:
    app.before_request(decide)
    app.teardown_request(lambda _: forget_proof())
