"""Whether the server answers, for load balancers and supervisors."""

from typing import Literal

from pydantic import BaseModel

from mushu.server.web.guard import public
from mushu.server.web.routes import Resource, Route


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@public
def health() -> Health:
    """Tell that the server answers."""
    return Health()


RESOURCE = Resource("health", [Route("GET", "/health", health, Health)])
