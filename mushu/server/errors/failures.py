"""What every error has, and the errors of the server itself: it cannot do it, not now, or not so often."""

from typing import ClassVar


class MushuError(Exception):
    """An answer that is not a success; `str()` of it is the sentence for a person.

    Args:
        detail: the sentence.
        field: the name of the argument that is at fault, where one is.
        key_id: the API key that it is about, where it is about one that the caller may see.
        retry_after: seconds after which asking again is worth it, where that is known.
    """

    #: A value is in the way that an operator may have overwritten. Who answers the caller says what that means there:
    #: `commands/common.py`, `web/problems.py`.
    overwritable: bool = False
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self, detail: str, *, field: str | None = None, key_id: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.key_id = key_id
        self.retry_after = retry_after


class DeliveryFailed(MushuError):
    code = "delivery_failed"
    title = "The API key could not be delivered"


class DeliveryUndecided(MushuError):
    code = "delivery_undecided"
    title = "It is not known whether the API key was delivered"


class DatabaseUnavailable(MushuError):
    code = "database_unavailable"
    title = "The database does not answer"


class Undecided(MushuError):
    code = "undecided"
    title = "It cannot be decided whether this may pass"


class LimiterUnavailable(Undecided):
    code = "limiter_unavailable"
    title = "Requests cannot be counted"


class StorageUnavailable(MushuError):
    code = "storage_unavailable"
    title = "The media storage does not answer"


class Busy(MushuError):
    code = "busy"
    title = "The server has too much to do"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, retry_after=retry_after)


class TooManyAttempts(MushuError):
    code = "too_many_attempts"
    title = "Signing in failed too often"
    retry_after: int

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, retry_after=retry_after)


class RateLimited(MushuError):
    """A limit of the credential or of the policy is reached.

    Args:
        fields: names and values of the HTTP fields that tell of the limits.
    """

    code = "rate_limited"
    title = "A limit is reached"

    def __init__(
        self, detail: str, *, retry_after: int | None = None, fields: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.fields = fields


class MailFailed(MushuError):
    code = "mail_failed"
    title = "The mail could not be sent"


class SealingFailed(MushuError):
    code = "sealing_failed"
    title = "What is encrypted at rest cannot be opened"


class ConfigurationError(MushuError):
    code = "configuration"
    title = "The settings are wrong"


class CopyFailed(MushuError):
    code = "copy_failed"
    title = "The database was not copied"


class UpgradeFailed(MushuError):
    code = "upgrade_failed"
    title = "The database could not be brought up to date"
