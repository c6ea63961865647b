from pydantic import BaseModel

from mushu.server import answers
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.users.service import get_user
from mushu.server.web.guard import current_user, signed_in
from mushu.server.web.routes import Resource, Route


class Me(BaseModel):
    user_id: str
    user_type: str
    email: str
    email_verified: bool
    name: str | None
    created_at: str


@signed_in
def show_me() -> Me:
    """Tell who is signed in."""
    with reading(db.session):
        user = get_user(db.session, current_user().user_id)
    return Me(**answers.user(user))


RESOURCE = Resource("users", [Route("GET", "/users/me", show_me, Me)])
