"""Every way in which a call to a service can fail, in one tree.

    MushuError
    ├── Invalid                 the input is wrong, and the message says what would be right        422
    │   └── IdempotencyMismatch, MediaRejected
    ├── MalformedBody           the body of a request is not what it is announced as                400
    ├── Unauthenticated         the credential proves nothing                                       401
    │   ├── MissingCredential, MalformedCredential, MistypedCredential, UnknownCredential
    │   └── InactiveCredential, ExpiredCredential, DisabledCredential, DeletedCredential, LoginRefused,
    │                           SessionEnded
    ├── TooManyAttempts         signing in failed too often; `retry_after` says how long to wait    429
    ├── RateLimited             a limit of the API key, its organization or the policy is reached   429
    ├── AmbiguousCredential     two different credentials in one request                            400
    ├── Forbidden               the credential is good, and not enough for this                     403
    │   └── MissingScope, WrongEnvironment, WrongNetwork, UserRequired, OwnerRequired, OperatorRequired, KeyRequired,
    │                           PolicyRefused, LinkNotValid
    ├── NotFound                it is not there, or the caller may not know that it is              404
    │   └── OrgNotFound, UserNotFound, MemberNotFound, KeyNotFound, LinkNotFound,
    │                           TokenNotFound, UserCodeNotFound, InvitationNotFound, InvitationWithdrawn,
    │                           DestinationNotFound, PolicyNotFound, TenantNotFound, DeviceNotFound,
    │                           NotificationNotFound, MediaNotFound
    ├── StateConflict           it contradicts what is there                                        409
    │   └── AmbiguousName, EmailTaken, AlreadyMember, OwnerImmovable, WrongState, DestinationHeld,
    │                           AlreadyCreated, InProgress, NameTaken, MediaWrongState, TooManyUploads, TooManyOrgs
    ├── DeliveryFailed          a key could not be delivered, and is dead                           502
    ├── DeliveryUndecided       a key may have been delivered; `flask keys reconcile` will tell     503
    ├── DatabaseUnavailable     the database does not answer, or is not set up                      503
    ├── Undecided               the gate cannot tell whether a credential may pass                  503
    │   └── LimiterUnavailable
    ├── StorageUnavailable      the media storage does not answer, or is full                       503
    ├── Busy                    too much is going on at this moment                                 503
    ├── MailFailed              the mail server did not take a mail                                 502
    ├── SealingFailed           what is encrypted at rest cannot be opened                          500
    ├── ConfigurationError      the settings are wrong; reported at start, never over HTTP
    ├── CopyFailed              the database was not copied to another one; never over HTTP         500
    └── UpgradeFailed           the database was not migrated, and is as it was; never over HTTP    500

The statuses are given by `web/problems.py` and stand here for the reader only. A `code` is stable and documented in
`docs/errors.md`; a message is one or two sentences that say what to do, and never holds a secret.
"""

from mushu.server.errors.client_errors import (
    AlreadyCreated,
    AlreadyMember,
    AmbiguousCredential,
    AmbiguousName,
    DeletedCredential,
    DestinationHeld,
    DestinationNotFound,
    DeviceNotFound,
    DisabledCredential,
    EmailTaken,
    ExpiredCredential,
    Forbidden,
    IdempotencyMismatch,
    InactiveCredential,
    InProgress,
    Invalid,
    InvitationNotFound,
    InvitationWithdrawn,
    KeyNotFound,
    KeyRequired,
    LinkNotFound,
    LinkNotValid,
    LoginRefused,
    MalformedBody,
    MalformedCredential,
    MediaNotFound,
    MediaRejected,
    MediaWrongState,
    MemberNotFound,
    MissingCredential,
    MissingScope,
    MistypedCredential,
    NameTaken,
    NotFound,
    NotificationNotFound,
    OperatorRequired,
    OrgNotFound,
    OwnerImmovable,
    OwnerRequired,
    PolicyNotFound,
    PolicyRefused,
    SessionEnded,
    StateConflict,
    TenantNotFound,
    TokenNotFound,
    TooManyOrgs,
    TooManyUploads,
    Unauthenticated,
    UnknownCredential,
    UserCodeNotFound,
    UserNotFound,
    UserRequired,
    WrongEnvironment,
    WrongNetwork,
    WrongState,
)
from mushu.server.errors.failures import (
    Busy,
    ConfigurationError,
    CopyFailed,
    DatabaseUnavailable,
    DeliveryFailed,
    DeliveryUndecided,
    LimiterUnavailable,
    MailFailed,
    MushuError,
    RateLimited,
    SealingFailed,
    StorageUnavailable,
    TooManyAttempts,
    Undecided,
    UpgradeFailed,
)

__all__ = [
    "AlreadyCreated",
    "AlreadyMember",
    "AmbiguousCredential",
    "AmbiguousName",
    "Busy",
    "ConfigurationError",
    "CopyFailed",
    "DatabaseUnavailable",
    "DeletedCredential",
    "DeliveryFailed",
    "DeliveryUndecided",
    "DestinationHeld",
    "DestinationNotFound",
    "DeviceNotFound",
    "DisabledCredential",
    "EmailTaken",
    "ExpiredCredential",
    "Forbidden",
    "IdempotencyMismatch",
    "InProgress",
    "InactiveCredential",
    "Invalid",
    "InvitationNotFound",
    "InvitationWithdrawn",
    "KeyNotFound",
    "KeyRequired",
    "LimiterUnavailable",
    "LinkNotFound",
    "LinkNotValid",
    "LoginRefused",
    "MailFailed",
    "MalformedBody",
    "MalformedCredential",
    "MediaNotFound",
    "MediaRejected",
    "MediaWrongState",
    "MemberNotFound",
    "MissingCredential",
    "MissingScope",
    "MistypedCredential",
    "MushuError",
    "NameTaken",
    "NotFound",
    "NotificationNotFound",
    "OperatorRequired",
    "OrgNotFound",
    "OwnerImmovable",
    "OwnerRequired",
    "PolicyNotFound",
    "PolicyRefused",
    "RateLimited",
    "SealingFailed",
    "SessionEnded",
    "StateConflict",
    "StorageUnavailable",
    "TenantNotFound",
    "TokenNotFound",
    "TooManyAttempts",
    "TooManyOrgs",
    "TooManyUploads",
    "Unauthenticated",
    "Undecided",
    "UnknownCredential",
    "UpgradeFailed",
    "UserCodeNotFound",
    "UserNotFound",
    "UserRequired",
    "WrongEnvironment",
    "WrongNetwork",
    "WrongState",
]
