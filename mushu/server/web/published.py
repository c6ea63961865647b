"""The addresses at which the published SDK (`mushu-sdk` 0.2) looks for what stands at `/tenants/…` here.

It says `/apps/{app_id}`, and means a tenant. Each address is a second one for the same endpoint, with the same guard;
the reference names only the first.
"""

from typing import Final

from flask import Flask

from mushu.server.web.guard import SANDBOX

#: Method, rule, and the endpoint that answers.
ALIASES: Final = (
    ("POST", "/apps/<tenant_id>/devices", "devices.register_device"),
    ("GET", "/apps/<tenant_id>/devices", "devices.list_devices"),
    ("DELETE", "/apps/<tenant_id>/devices/<token>", "devices.unregister_device"),
    ("POST", "/apps/<tenant_id>/notify", "push.send_notification"),
    ("POST", "/apps/<tenant_id>/notify/bulk", "push.send_bulk_notification"),
    ("GET", "/media/app/<tenant_id>", "media.list_media_of_tenant"),
)


def add_aliases(app: Flask) -> None:
    """Add the addresses, for live and for test; to be called when the reference is written already."""
    for method, rule, endpoint in ALIASES:
        app.add_url_rule(rule, endpoint=endpoint, methods=[method])
        app.add_url_rule(SANDBOX + rule, endpoint=f"{SANDBOX.strip('/')}_{endpoint}", methods=[method])
