"""Whether the server answers, and whether it can do its work: for load balancers and supervisors."""

from functools import cache
from http import HTTPStatus
from typing import Literal

from flask import current_app
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.errors import DatabaseUnavailable
from mushu.server.operation.upgrading.migrations import REVISIONS, newest_revisions
from mushu.server.web.guard import public
from mushu.server.web.routes import Resource, Route


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    status: Literal["ready"] = "ready"


@public
def health() -> Health:
    """Tell that the server answers."""
    return Health()


@public
def ready() -> Readiness:
    """Tell that requests can be served: the database answers, and its schema is current."""
    try:
        with reading(db.session):
            found = frozenset(db.session.scalars(REVISIONS))
    except DBAPIError as error:
        current_app.logger.error("database failed", extra={"cause": str(error.orig)})  # noqa: TRY400 - no more is known
        raise DatabaseUnavailable(
            "The database does not answer, or was never set up. Run `flask doctor` on the server, and see its log."
        ) from None
    if found != _newest_revisions():
        raise DatabaseUnavailable(
            "The schema of the database is not the one of this code. Run script/up or `flask database upgrade`; where "
            "the database is the newer one, update the code and restart the server."
        )
    return Readiness()


@cache
def _newest_revisions() -> frozenset[str]:
    return newest_revisions()


RESOURCE = Resource(
    "health",
    [
        Route("GET", "/health", health, Health),
        Route("GET", "/ready", ready, Readiness, refusals=(HTTPStatus.SERVICE_UNAVAILABLE,)),
    ],
)
