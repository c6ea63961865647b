"""The server, or something that it needs, cannot do it."""

from mushu.server.errors.base import MushuError


class DeliveryFailed(MushuError):
    code = "delivery_failed"
    title = "The API key could not be delivered"


class DeliveryUndecided(MushuError):
    code = "delivery_undecided"
    title = "It is not known whether the API key was delivered"


class DatabaseUnavailable(MushuError):
    code = "database_unavailable"
    title = "The database does not answer"


class StorageUnavailable(MushuError):
    code = "storage_unavailable"
    title = "The media storage does not answer"


class Busy(MushuError):
    code = "busy"
    title = "The server has too much to do"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, retry_after=retry_after)


class MailFailed(MushuError):
    code = "mail_failed"
    title = "The mail could not be sent"


class SealingFailed(MushuError):
    code = "sealing_failed"
    title = "What is encrypted at rest cannot be opened"


class ConfigurationError(MushuError):
    code = "configuration"
    title = "The settings are wrong"


class UpgradeFailed(MushuError):
    code = "upgrade_failed"
    title = "The database could not be brought up to date"
