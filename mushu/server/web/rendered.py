"""An answer that is the same for everybody until the server starts anew: rendered once, and asked for again cheaply."""

from hashlib import sha256

from flask import Response, request


class Rendered:
    """Holds the bytes of the answer and their entity tag (RFC 9110, section 8.8.3).

    Args:
        content: what is answered.
        content_type: with its parameters, if there are any.
    """

    def __init__(self, content: bytes, content_type: str) -> None:
        self._content = content
        self._content_type = content_type
        self._tag = sha256(content).hexdigest()[:32]

    def answer(self) -> Response:
        """Return it, or 304 without a body to who has it already; within a request."""
        response = Response(self._content, content_type=self._content_type)
        response.set_etag(self._tag)
        response.make_conditional(request)
        return response
