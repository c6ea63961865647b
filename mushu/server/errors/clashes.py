"""What is asked for is wrong, or contradicts what is there."""

from mushu.server.errors.base import MushuError


class Invalid(MushuError):
    code = "invalid_input"
    title = "The input is not valid"


class MalformedBody(MushuError):
    code = "bad_request"
    title = "The body cannot be understood"


class IdempotencyMismatch(Invalid):
    code = "idempotency_mismatch"
    title = "The Idempotency-Key was used for another request"


class MediaRejected(Invalid):
    code = "media_rejected"
    title = "What was uploaded is not what was announced"


class Clash(MushuError):
    code = "conflict"
    title = "This contradicts what is there"


class AmbiguousName(Clash):
    code = "ambiguous_name"
    title = "More than one organization has this name"


class EmailTaken(Clash):
    code = "email_taken"
    title = "There is a user with this e-mail address"


class AlreadyMember(Clash):
    code = "already_member"
    title = "The user is a member already"


class OwnerImmovable(Clash):
    code = "owner_immovable"
    title = "The owner's membership cannot be changed"


class WrongState(Clash):
    code = "wrong_state"
    title = "The API key is in a state that does not allow this"


class DestinationHeld(Clash):
    """A key may not be put there, or what is there may not be forgotten.

    Args:
        detail: the sentence; it advises nothing that only some callers can do.
        field: the name of the argument that is at fault, where one is.
        overwritable: what is in the way is a value, which an operator may have overwritten. Who answers the caller
            says what that means there: `commands/ways_out.py`, `web/problems.py`.
    """

    code = "destination_held"
    title = "The destination holds another value"

    def __init__(self, detail: str, *, field: str | None = None, overwritable: bool = False) -> None:
        super().__init__(detail, field=field)
        self.overwritable = overwritable


class AlreadyCreated(Clash):
    code = "already_created"
    title = "The API key was created by this request before, and is shown once"


class InProgress(Clash):
    code = "in_progress"
    title = "The request with this Idempotency-Key is being worked on"


class NameTaken(Clash):
    code = "name_taken"
    title = "The name, or the place it should stand for, is taken"


class MediaWrongState(Clash):
    code = "media_wrong_state"
    title = "The media is in a state that does not allow this"


class TooManyOrgs(Clash):
    code = "too_many_orgs"
    title = "The user owns as many organizations as one may"


class TooManyUploads(Clash):
    code = "too_many_uploads"
    title = "Too many uploads are announced and not finished"
