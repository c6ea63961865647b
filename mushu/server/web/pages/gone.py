"""The page that says why there is nothing to see."""

from http import HTTPStatus

from flask import render_template

from mushu.server.errors import MushuError


def gone(error: MushuError, status: HTTPStatus = HTTPStatus.NOT_FOUND) -> tuple[str, int]:
    """Return a page with the error's own words."""
    return render_template("gone.html", title=error.title, detail=error.detail), status
