"""Where the current request comes from."""

from flask import request

from mushu.server import client_address
from mushu.server.client_address import Address
from mushu.server.core import get_core


def current_address() -> Address | None:
    """Return the client's address, or None where it is not known."""
    return client_address.client_address(request.environ, get_core().settings.client_address_header)
