"""What several views take or answer, so that no view imports another view.

A view that takes `Idempotency-Key` names the header in its signature, so that the reference shows it, and passes on
what `idempotency_of` makes:

    def create_tenant(header: IdempotencyHeader, body: NewTenant) -> Tenant:
        … idempotency=idempotency_of(header, body) …
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask import request
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from mushu.secret import Secret
from mushu.server.clock import rfc3339
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import MOST_NETWORKS
from mushu.server.paging import CURSOR_LENGTH, MOST, Window
from mushu.server.rate_limits import Limit, parse_limits
from mushu.server.tokens.models import LIFETIME, CliToken
from mushu.server.users.models import User
from mushu.server.web.guard import current_environment, current_org

Text = Annotated[str, Field(max_length=1_000)]
LimitTexts = Annotated[list[Annotated[str, Field(max_length=32)]], Field(max_length=10)]
NetworkTexts = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MOST_NETWORKS)]


def _written_out(moment: object) -> object:
    """Take a moment as RFC 3339 writes it only: a bare number would be taken for seconds, or for milliseconds."""
    if moment is None or (isinstance(moment, str) and "T" in moment.upper()):
        return moment
    raise PydanticCustomError("datetime_parsing", "not written as in RFC 3339")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in the first or the last hours of the calendar
        raise PydanticCustomError("datetime_parsing", "not within the calendar of UTC") from None


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out), AfterValidator(_in_utc)]


def optional() -> Any:
    """Return the default of an answer's field that is left out where it does not apply."""
    return Field(default=None, exclude_if=lambda value: value is None)


class Body(BaseModel):
    """A request body: what it does not know, it refuses, so that a typo is not taken for consent."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class LimitsChange(Body):
    """A change of limits; what is left out stays, and null or an empty list takes it back."""

    limits: LimitTexts | None = None

    @property
    def new_limits(self) -> tuple[Limit, ...] | None:
        """None where they stay as they are."""
        return parse_limits(self.limits or ()) if "limits" in self.model_fields_set else None


class ListWindow(BaseModel):
    """Which page of a list is asked for."""

    limit: int = Field(default=100, ge=1, le=MOST)
    cursor: str | None = Field(default=None, max_length=CURSOR_LENGTH)

    @property
    def window(self) -> Window:
        return Window(self.limit, self.cursor)


class OrgPath(BaseModel):
    org_id: str


class TenantPath(BaseModel):
    tenant_id: str


class MediaPath(BaseModel):
    media_id: str = Field(max_length=24)


class Deleted(BaseModel):
    """What was asked to be deleted is deleted."""

    deleted: bool = True


class Member(BaseModel):
    user_id: str
    org_id: str
    role: str
    joined_at: str
    email: str


class LoginUser(BaseModel):
    user_id: str
    email: str


class LoginAnswer(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    expires_at: str
    user: LoginUser


def login_answer(token: CliToken, secret: Secret, user: User) -> LoginAnswer:
    """Answer a new CLI token, in the one form that all ways of signing in share."""
    return LoginAnswer(
        access_token=secret.reveal(),
        expires_in=int(LIFETIME.total_seconds()),
        expires_at=rfc3339(token.expires_at),
        user=LoginUser(user_id=user.id, email=user.email),
    )


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
