"""Every way in which a call to a service can fail, in one tree.

    MushuError
    ├── Invalid                 the input is wrong, and the message says what would be right        422
    ├── Unauthenticated         the credential proves nothing                                       401
    │   ├── MissingCredential, MalformedCredential, MistypedCredential, UnknownCredential
    │   └── InactiveCredential, ExpiredCredential, DisabledCredential, DeletedCredential, LoginRefused
    ├── TooManyAttempts         signing in failed too often; `retry_after` says how long to wait    429
    ├── AmbiguousCredential     two different credentials in one request                            400
    ├── Forbidden               the credential is good, and not enough for this                     403
    │   └── MissingScope, WrongEnvironment, UserRequired, OwnerRequired
    ├── NotFound                it is not there, or the caller may not know that it is              404
    │   └── OrgNotFound, UserNotFound, MemberNotFound, KeyNotFound, LinkNotFound,
    │                           TokenNotFound, UserCodeNotFound, InvitationNotFound, DestinationNotFound
    ├── Clash                   it contradicts what is there                                        409
    │   └── AmbiguousName, EmailTaken, AlreadyMember, OwnerImmovable, WrongState, DestinationHeld,
    │                           NameTaken
    ├── DeliveryFailed          a key could not be delivered, and is dead                           502
    ├── DeliveryUndecided       a key may have been delivered; `flask keys reconcile` will tell     503
    ├── DatabaseUnavailable     the database does not answer, or is not set up                      503
    ├── MailFailed              the mail server did not take a mail                                 502
    ├── SealingFailed           what is encrypted at rest cannot be opened                          500
    └── ConfigurationError      the settings are wrong; reported at start, never over HTTP

The statuses are given by `web/problems.py` and stand here for the reader only. A `code` is stable and documented in
`docs/errors.md`; a message is one or two sentences that say what to do, and never holds a secret.
"""

from typing import ClassVar


class MushuError(Exception):
    """An answer that is not a success; `str()` of it is the sentence for a person.

    Args:
        detail: the sentence.
        field: the name of the argument that is at fault, where one is.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class Invalid(MushuError):
    code = "invalid_input"
    title = "The input is not valid"


class Unauthenticated(MushuError):
    code = "unauthenticated"
    title = "A valid credential is needed"


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


class LoginRefused(Unauthenticated):
    code = "login_refused"
    title = "The sign-in was refused"


class TooManyAttempts(MushuError):
    code = "too_many_attempts"
    title = "Signing in failed too often"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        #: Seconds.
        self.retry_after = retry_after


class AmbiguousCredential(MushuError):
    code = "ambiguous_credential"
    title = "Two different credentials were sent"


class Forbidden(MushuError):
    code = "forbidden"
    title = "The credential does not permit this"


class MissingScope(Forbidden):
    code = "missing_scope"
    title = "The credential lacks a scope"


class WrongEnvironment(Forbidden):
    code = "wrong_environment"
    title = "The API key belongs to the other environment"


class UserRequired(Forbidden):
    code = "user_required"
    title = "Only a signed-in user can do this"


class OwnerRequired(Forbidden):
    code = "owner_required"
    title = "Only the owner can do this"


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


class DestinationNotFound(NotFound):
    code = "destination_not_found"
    title = "There is no such destination"


class LinkNotFound(NotFound):
    code = "link_not_found"
    title = "The link is not valid any more"


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
    code = "destination_held"
    title = "The destination holds another value"


class NameTaken(Clash):
    code = "name_taken"
    title = "The name, or the place it should stand for, is taken"


class DeliveryFailed(MushuError):
    code = "delivery_failed"
    title = "The API key could not be delivered"


class DeliveryUndecided(MushuError):
    code = "delivery_undecided"
    title = "It is not known whether the API key was delivered"


class DatabaseUnavailable(MushuError):
    code = "database_unavailable"
    title = "The database does not answer"


class MailFailed(MushuError):
    code = "mail_failed"
    title = "The mail could not be sent"


class SealingFailed(MushuError):
    code = "sealing_failed"
    title = "What is encrypted at rest cannot be opened"


class ConfigurationError(MushuError):
    code = "configuration"
    title = "The settings are wrong"
