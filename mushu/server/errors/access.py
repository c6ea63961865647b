"""Who asks is not known, or may not do this."""

from mushu.server.errors.base import MushuError


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


class SessionEnded(Unauthenticated):
    """A page's session ended between the look at the cookie and the act; the browser is sent to sign in."""

    code = "session_ended"
    title = "The session in this browser has ended"


class LoginRefused(Unauthenticated):
    code = "login_refused"
    title = "The sign-in was refused"


class TooManyAttempts(MushuError):
    code = "too_many_attempts"
    title = "Signing in failed too often"
    retry_after: int

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, retry_after=retry_after)


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


class LinkNotValid(Forbidden):
    code = "link_not_valid"
    title = "The signed link is not valid"
