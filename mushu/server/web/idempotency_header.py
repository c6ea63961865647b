"""`Idempotency-Key`: a client repeats a request, and it is done once.

A view that takes this header names it in its signature, so that the reference shows it, and passes on what
`idempotency_of` makes:

    def create_tenant(header: IdempotencyHeader, body: NewTenant) -> Tenant:
        … idempotency=idempotency_of(header, body) …
"""

from flask import request
from pydantic import BaseModel, Field

from mushu.server.idempotency import IdempotencyMark
from mushu.server.web.guard import current_environment, current_org


class IdempotencyHeader(BaseModel):
    """`Idempotency-Key`: a new value for each request that is not a repetition, such as a UUID."""

    idempotency_key: str | None = Field(
        default=None, alias="Idempotency-Key", min_length=1, max_length=255, pattern="^[!-~]+$"
    )


def idempotency_of(header: IdempotencyHeader, body: BaseModel) -> IdempotencyMark | None:
    """Return the mark of the current request, or None where it carries no key.

    A key counts within one organization, one environment and one operation; the same key elsewhere is another key. The
    same operation on something else, or with another body, is refused as a mismatch.

    Raises:
        Invalid: the key is not usable.
    """
    if header.idempotency_key is None:
        return None
    operation = (request.endpoint or "").rpartition(".")[2]
    asked = {"path": dict(request.view_args or {}), "body": body.model_dump(mode="json")}
    return IdempotencyMark.of(header.idempotency_key, (current_org(), current_environment(), operation), asked)
