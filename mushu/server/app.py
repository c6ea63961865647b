"""The application, and the one table of what is mounted where.

Commands are not mounted here: Flask finds them by the entry points in setup.cfg (group `flask.commands`), so that
`flask keys list` never loads the web. Destination plugins are found by theirs (group `mushu.destinations`).
"""

from importlib.metadata import version
from typing import Final

import click
from flask import Flask

from mushu import process
from mushu.server import logs
from mushu.server.commands import dotenv_files
from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.core import install as install_core
from mushu.server.errors import ConfigurationError
from mushu.server.web import (
    admission,
    extensions,
    fast_path,
    forward_auth,
    guard,
    problems,
    proxy_headers,
    remembered_answers,
    response_headers,
    sessions,
    slow_clients,
    templating,
)
from mushu.server.web.access_log import install as install_access_log
from mushu.server.web.api import (
    audit,
    auth,
    destinations,
    devices,
    health,
    invitations,
    keys,
    media,
    media_content,
    orgs,
    policies,
    push,
    tenants,
    verification,
)
from mushu.server.web.dashboard import server_pages, start
from mushu.server.web.dashboard.routes import dashboards
from mushu.server.web.openapi import make_app, serve_document
from mushu.server.web.pages import account, client_wheel, consent, reference, sign_in
from mushu.server.web.pages import invitations as invitation_pages
from mushu.server.web.routes import add_aliases

#: Stand once: they are about the server or the signed-in user.
SINGLE: Final = (
    health.RESOURCE,
    auth.RESOURCE,
    auth.DEVICE_FLOW,
    auth.TOKENS,
    auth.USERS,
    invitations.INVITEES,
    policies.RESOURCE,
    verification.VERIFICATION,
    verification.INTROSPECTION,
)
#: Stand twice: for live, and under /sandbox for test.
ENVIRONMENTAL: Final = (
    orgs.RESOURCE,
    orgs.SETTINGS,
    audit.RESOURCE,
    orgs.MEMBERS,
    invitations.RESOURCE,
    keys.RESOURCE,
    keys.LOOKUP,
    keys.VALIDATION,
    keys.ROTATION,
    keys.CONFIRMATION,
    destinations.RESOURCE,
    tenants.RESOURCE,
    devices.RESOURCE,
    media.RESOURCE,
    media_content.RESOURCE,
    push.RESOURCE,
)
PAGES: Final = (sign_in, account, consent, invitation_pages, reference, client_wheel, start, server_pages)


def create_app(core: Core | None = None) -> Flask:
    """Return the whole application.

    Raises:
        ConfigurationError: the settings are wrong, every fault is named; or a debugger would be served.
    """
    dotenv_files.undo(click.get_current_context(silent=True))
    process.harden()
    process.keep_files_private()
    core = core or Core(Settings.load())
    logs.configure(core.settings.log_level)
    app = make_app()
    _refuse_debugger(app)
    install_core(app, core)
    _ = core.media  # a storage that cannot be used here is told now, not to the first who uploads
    extensions.install_recorder(app, core.settings.usage_seconds)
    core.limiter.prepare()
    remembered = fast_path.install(app, core)
    slots = slow_clients.install(app, core.settings)
    sessions.install(app, core.settings)
    extensions.install_sender(app, core.clock)
    response_headers.install(app)
    install_access_log(app, core.settings)
    proxy_headers.install(app, core.settings)
    remembered_answers.install(app, core, remembered, slots)
    forward_auth.install(app, core)
    admission.install(app)
    problems.install(app)
    templating.install(app)
    for resource in SINGLE:
        app.mount(resource)
    for resource in ENVIRONMENTAL:
        app.mount(resource)
        app.mount(resource, guard.SANDBOX)
    for pages in PAGES:
        app.register_blueprint(pages.PAGES)
    for dashboard in dashboards():
        app.register_blueprint(dashboard)
    serve_document(app, version("mushu"), core.settings.base_url)
    add_aliases(app)
    return app


def _refuse_debugger(app: Flask) -> None:
    """Werkzeug's shows the variables of a failed request to whoever caused it, keys among them, and offers a shell."""
    context = click.get_current_context(silent=True)  # of `flask run --debugger`, which sets no debug mode
    if app.debug or (context is not None and context.params.get("debugger")):
        raise ConfigurationError(
            "Mushu does not run in debug mode: an error would show keys in the browser. Unset FLASK_DEBUG, leave out "
            "--debug and --debugger, and see the log for what went wrong."
        )
