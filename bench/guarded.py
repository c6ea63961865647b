"""The whole of Mushu with one more endpoint, to be measured beside a bare view: `/bench` is guarded, does nothing."""

from flask import Flask
from pydantic import BaseModel

from mushu.server.app import create_app
from mushu.server.core import Core
from mushu.server.keys import Scope
from mushu.server.web.guard import requires
from mushu.server.web.routes import Resource, Route


class Nothing(BaseModel):
    status: str = "ok"


@requires(Scope.READ)
def do_nothing() -> Nothing:
    """Do nothing."""
    return Nothing()


def mushu(core: Core | None = None) -> Flask:
    """Return the whole application, with an endpoint that is guarded and does nothing."""
    app = create_app(core)
    app.mount(Resource("bench", [Route("GET", "/bench", do_nothing, Nothing)]))  # type: ignore[attr-defined]
    return app
