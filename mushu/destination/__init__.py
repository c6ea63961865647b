"""The contract between Mushu and the places that keys are delivered to, and the one library that calls a plugin.

A destination plugin is a package with one class derived from `Destination` and one entry point in the group
`mushu.destinations`, whose name is the URI scheme it serves:

    [options.entry_points]
    mushu.destinations =
        vault = mushu_vault:VaultDestination

The plugin imports this package and its own library, nothing else of Mushu. `mushu.testing` is the suite it must pass.

`contract` is what a plugin sees, and this module has all of its names. The server, the `mushu` command and the kit find
a plugin by `registry`, call it by `safe`, and deliver a key by `target`. Standard library only: nothing here may import
the server, Flask, SQLAlchemy or a plugin.
"""

from mushu.address import is_loopback_host
from mushu.destination.contract import (
    DEFAULT_FIELD,
    Attempt,
    Conflict,
    Denied,
    Destination,
    DestinationError,
    Holding,
    Label,
    Location,
    Receipt,
    Surroundings,
)
from mushu.destination.registry import (
    ENTRY_POINT_GROUP,
    installed_schemes,
    open_destination,
    refuse_unknown_settings,
)
from mushu.ownership import is_foreign, others_may_use, others_may_write, user_name
from mushu.process import child_environment
from mushu.secret import Secret, digest_of

__all__ = [
    "DEFAULT_FIELD",
    "ENTRY_POINT_GROUP",
    "Attempt",
    "Conflict",
    "Denied",
    "Destination",
    "DestinationError",
    "Holding",
    "Label",
    "Location",
    "Receipt",
    "Secret",
    "Surroundings",
    "child_environment",
    "digest_of",
    "installed_schemes",
    "is_foreign",
    "is_loopback_host",
    "open_destination",
    "others_may_use",
    "others_may_write",
    "refuse_unknown_settings",
    "user_name",
]
