"""A request is refused: by who asks, by what is asked for, or by what is there."""

from mushu.server.errors.failures import MushuError


class Unauthenticated(MushuError):
    code = "unauthenticated"
    title = "A valid credential is needed"
    #: The id of the API key that is known, and refused; it counts for the usage of that key, and is not answered.
    of_key: str | None = None


class MissingCredential(Unauthenticated):
    code = "missing_credential"
    title = "No credential was sent"


class MalformedCredential(Unauthenticated):
    code = "malformed_credential"
    title = "The credential has the wrong form"


class MistypedCredential(Unauthenticated):
    code = "mistyped_credential"
    title = "The credential is mistyped or cut short"


class UnknownCredential(Unauthenticated):
    code = "unknown_credential"
    title = "The credential is not known here"


class InactiveCredential(Unauthenticated):
    code = "inactive_credential"
    title = "The API key is not active yet"


class ExpiredCredential(Unauthenticated):
    code = "expired_credential"
    title = "The credential has expired"


class DisabledCredential(Unauthenticated):
    code = "disabled_credential"
    title = "The credential is disabled"


class DeletedCredential(Unauthenticated):
    code = "deleted_credential"
    title = "The credential was deleted"


class SessionEnded(Unauthenticated):
    """A page's session ended between the look at the cookie and the act; the browser is sent to sign in."""

    code = "session_ended"
    title = "The session in this browser has ended"


class LoginRefused(Unauthenticated):
    code = "login_refused"
    title = "The sign-in was refused"


class AmbiguousCredential(MushuError):
    code = "ambiguous_credential"
    title = "Two different credentials were sent"


class Forbidden(MushuError):
    code = "forbidden"
    title = "The credential does not permit this"
    #: As for `Unauthenticated`.
    of_key: str | None = None


class MissingScope(Forbidden):
    code = "missing_scope"
    title = "The credential lacks a scope"


class WrongEnvironment(Forbidden):
    code = "wrong_environment"
    title = "The API key belongs to the other environment"


class WrongNetwork(Forbidden):
    code = "wrong_network"
    title = "The API key is not for this network"


class UserRequired(Forbidden):
    code = "user_required"
    title = "Only a signed-in user can do this"


class OwnerRequired(Forbidden):
    code = "owner_required"
    title = "Only the owner can do this"


class OperatorRequired(Forbidden):
    code = "operator_required"
    title = "Only an operator of the server can do this"


class KeyRequired(Forbidden):
    code = "key_required"
    title = "Only an API key can ask this"


class PolicyRefused(Forbidden):
    code = "policy_refused"
    title = "The policy does not let this pass"


class LinkNotValid(Forbidden):
    code = "link_not_valid"
    title = "The signed link is not valid"


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


class StateConflict(MushuError):
    code = "conflict"
    title = "This contradicts what is there"


class AmbiguousName(StateConflict):
    code = "ambiguous_name"
    title = "More than one organization has this name"


class EmailTaken(StateConflict):
    code = "email_taken"
    title = "There is a user with this e-mail address"


class AlreadyMember(StateConflict):
    code = "already_member"
    title = "The user is a member already"


class OwnerImmovable(StateConflict):
    code = "owner_immovable"
    title = "The owner's membership cannot be changed"


class WrongState(StateConflict):
    code = "wrong_state"
    title = "The API key is in a state that does not allow this"


class DestinationHeld(StateConflict):
    """A key may not be put there, or what is there may not be forgotten.

    Args:
        detail: the sentence; it advises nothing that only some callers can do.
        field: the name of the argument that is at fault, where one is.
        overwritable: what is in the way is a value, which an operator may have overwritten.
    """

    code = "destination_held"
    title = "The destination holds another value"

    def __init__(self, detail: str, *, field: str | None = None, overwritable: bool = False) -> None:
        super().__init__(detail, field=field)
        self.overwritable = overwritable


class AlreadyCreated(StateConflict):
    code = "already_created"
    title = "The API key was created by this request before, and is shown once"


class InProgress(StateConflict):
    code = "in_progress"
    title = "The request with this Idempotency-Key is being worked on"


class NameTaken(StateConflict):
    code = "name_taken"
    title = "The name, or the place it should stand for, is taken"


class MediaWrongState(StateConflict):
    code = "media_wrong_state"
    title = "The media is in a state that does not allow this"


class TooManyOrgs(StateConflict):
    code = "too_many_orgs"
    title = "The user owns as many organizations as one may"


class TooManyUploads(StateConflict):
    code = "too_many_uploads"
    title = "Too many uploads are announced and not finished"


class NotFound(MushuError):
    code = "not_found"
    title = "There is no such thing"


class OrgNotFound(NotFound):
    code = "org_not_found"
    title = "There is no such organization"


class UserNotFound(NotFound):
    code = "user_not_found"
    title = "There is no such user"


class MemberNotFound(NotFound):
    code = "member_not_found"
    title = "There is no such member"


class KeyNotFound(NotFound):
    code = "key_not_found"
    title = "There is no such API key"


class TokenNotFound(NotFound):
    code = "token_not_found"
    title = "There is no such CLI token"


class UserCodeNotFound(NotFound):
    code = "user_code_not_found"
    title = "No program waits for this code"


class InvitationNotFound(NotFound):
    code = "invitation_not_found"
    title = "There is no such invitation"


class InvitationWithdrawn(InvitationNotFound):
    code = "invitation_withdrawn"
    title = "The invitation was withdrawn"


class DestinationNotFound(NotFound):
    code = "destination_not_found"
    title = "There is no such destination"


class PolicyNotFound(NotFound):
    code = "policy_not_found"
    title = "There is no such policy"


class TenantNotFound(NotFound):
    code = "tenant_not_found"
    title = "There is no such tenant"


class DeviceNotFound(NotFound):
    code = "device_not_found"
    title = "There is no such device"


class NotificationNotFound(NotFound):
    code = "notification_not_found"
    title = "There is no such notification"


class MediaNotFound(NotFound):
    code = "media_not_found"
    title = "There is no such media"


class LinkNotFound(NotFound):
    code = "link_not_found"
    title = "The link is not valid any more"
