"""Protects a Python service with API keys: each request is asked about at Mushu over HTTP.

    guard = Guard("https://keys.example.com", key=os.environ["MUSHU_API_KEY"], scope="read")
    app = guard.wsgi(app)          # or guard.asgi(app)

    @guard.requires("write")       # for a function that gets a request
    def change(request): ...

A request passes only where Mushu says that its key is good, with the scope. Where Mushu is away, is silent, or answers
anything else, the guard is closed: 503. The service finds a `VerifiedKey` as `environ["mushu.key"]` or
`scope["mushu.key"]`. Nothing here logs a credential, and nothing here needs the server's packages.
"""

from mushu.guard.answer import RequestDenied, VerifiedKey
from mushu.guard.middleware import Guard
from mushu.guard.request import PEER

__all__ = ["PEER", "Guard", "RequestDenied", "VerifiedKey"]
