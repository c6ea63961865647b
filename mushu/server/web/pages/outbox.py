"""What the apps of a user's organizations would have sent, had they Apple's credentials."""

from typing import Final

from flask import Blueprint, render_template

from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.notifications.outbox import newest_in_outbox
from mushu.server.orgs.service import list_orgs_of_user
from mushu.server.web.guard import in_browser
from mushu.server.web.sessions import require_session_user

PAGES = Blueprint("outbox", __name__)
_NEWEST: Final = 50


@PAGES.get("/outbox")
@in_browser
def show_outbox() -> str:
    """Show the newest notifications that were recorded instead of sent."""
    user = require_session_user()
    with reading(db.session):
        orgs = list_orgs_of_user(db.session, user.id)
        entries = newest_in_outbox(db.session, [org.id for org in orgs], _NEWEST)
    return render_template("outbox.html", entries=entries, most=_NEWEST)
