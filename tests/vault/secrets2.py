"""What version 2 of the key-value engine keeps: a secret with its versions, and the rules for both."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.vault.answers import Refused
from tests.vault.fields import Fields
from tests.vault.values import Unreadable, as_read, now, whole, written

MOST_VERSIONS = 10


@dataclass
class Version:
    """One version; `text` is its data as JSON, gone once it is destroyed."""

    created: int
    text: str | None
    deletion: int | None = None
    destroyed: bool = False

    @property
    def deleted(self) -> bool:
        return self.deletion is not None and self.deletion < now()

    @property
    def data(self) -> Any:
        return None if self.text is None else as_read(json.loads(self.text))

    def times(self) -> dict[str, Any]:
        return {
            "created_time": written(self.created),
            "deletion_time": written(self.deletion),
            "destroyed": self.destroyed,
        }


@dataclass
class Settings:
    """What may be set for a whole mount and for one secret."""

    max_versions: int = 0
    cas_required: bool = False


@dataclass
class Secret:
    """One path with all its versions."""

    settings: Settings = field(default_factory=Settings)
    versions: dict[int, Version] = field(default_factory=dict)
    current: int = 0
    oldest: int = 0
    metadata_version: int = 0
    created: int | None = None
    updated: int | None = None
    custom: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, mount: Settings) -> dict[str, Any]:
        """Add a version, drop those that are too many, return what a write answers."""
        moment = now()
        version = Version(moment, text)
        self.current += 1
        self.versions[self.current] = version
        self.updated = moment
        self.created = self.created or moment
        most = max(self.settings.max_versions, mount.max_versions) or MOST_VERSIONS
        if self.current - self.oldest >= most:
            last = self.current - most
            for number in range(self.oldest, last + 1):
                self.versions.pop(number, None)
            self.oldest = last + 1
        return self.described(self.current)

    def described(self, number: int) -> dict[str, Any]:
        return {"version": number} | self.versions[number].times() | {"custom_metadata": self.custom or None}

    def metadata(self) -> dict[str, Any]:
        return asdict(self.settings) | {
            "versions": {str(number): version.times() for number, version in self.versions.items()},
            "current_version": self.current,
            "current_metadata_version": self.metadata_version,
            "oldest_version": self.oldest,
            "created_time": written(self.created),
            "updated_time": written(self.updated),
            "custom_metadata": self.custom or None,
        }


def check_and_set(fields: Fields, mount: Settings, secret: Secret) -> None:
    """Raises: Refused, if the caller's idea of the current version is wrong, or is missing where it must not."""
    options = fields.get("options") or {}
    if "cas" not in options:
        if mount.cas_required or secret.settings.cas_required:
            raise Refused(400, "check-and-set parameter required for this call")
        return
    try:
        wanted = whole(options["cas"])
    except Unreadable:
        raise Refused(400, "error parsing check-and-set parameter") from None
    if wanted != secret.current:
        raise Refused(400, "check-and-set parameter did not match the current version")
