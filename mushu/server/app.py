"""The application, and the one table of what is mounted where.

Commands are not mounted here but found by Flask through the entry points in setup.cfg (group `flask.commands`), so that
`flask keys list` never loads the web; destination plugins are found by theirs (group `mushu.destinations`).
"""

from importlib.metadata import version
from typing import Final

from flask import Flask

from mushu.server import logs
from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.core import install as install_core
from mushu.server.web import guard, headers, problems, sessions
from mushu.server.web.api import (
    auth,
    client_deliveries,
    device,
    health,
    invitations,
    keys,
    members,
    orgs,
    tokens,
    users,
)
from mushu.server.web.openapi import make_app, serve_document
from mushu.server.web.pages import account, activation, joining, loopback, password, reference, signing_in
from mushu.server.web.routes import blueprint

#: Stand once: they are about the server or the signed-in user.
SINGLE: Final = (health.RESOURCE, auth.RESOURCE, device.RESOURCE, tokens.RESOURCE, users.RESOURCE, invitations.INVITEES)
#: Stand twice: for live, and under /sandbox for test.
ENVIRONMENTAL: Final = (
    orgs.RESOURCE,
    members.RESOURCE,
    invitations.RESOURCE,
    keys.RESOURCE,
    client_deliveries.RESOURCE,
)
PAGES: Final = (
    signing_in.PAGES,
    account.PAGES,
    activation.PAGES,
    joining.PAGES,
    loopback.PAGES,
    password.PAGES,
    reference.PAGES,
)


def create_app(core: Core | None = None) -> Flask:
    """Return the whole application.

    Raises:
        ConfigurationError: the settings are wrong; every fault is named.
    """
    core = core or Core(Settings.load())
    logs.configure(core.settings.log_level)
    app = make_app(version("mushu"))
    install_core(app, core)
    sessions.install(app, core.settings)
    headers.trust_proxies(app, core.settings.trusted_proxies)
    for install in (guard.install, problems.install, headers.install):
        install(app)
    for resource in SINGLE:
        app.register_api(blueprint(resource, ""))
    for resource in ENVIRONMENTAL:
        app.register_api(blueprint(resource, ""))
        app.register_api(blueprint(resource, guard.SANDBOX))
    for pages in PAGES:
        app.register_blueprint(pages)
    serve_document(app)
    return app
