"""The key-value engine, version 2: what stands under `metadata`."""

import json
from collections.abc import Callable
from typing import Any

from tests.vault.answers import Refused, Reply, bare, listed
from tests.vault.calls import Call
from tests.vault.fields import Fields, Reader
from tests.vault.listing import children, listing
from tests.vault.secrets2 import Secret
from tests.vault.values import Unreadable, mapping, now, text, whole

METADATA: dict[str, Reader] = {
    "path": str,
    "cas_required": bool,
    "max_versions": whole,
    "custom_metadata": mapping,
    "metadata_cas": whole,
}
_SETTINGS = ("max_versions", "cas_required")
_FAILED = "custom_metadata validation failed"
_MOST, _LONGEST_KEY, _LONGEST_VALUE = 64, 128, 512


class Metadata:
    """The metadata of the secrets of one mount."""

    def __init__(self, secrets: dict[str, Secret]) -> None:
        self._secrets = secrets

    def handle(self, key: str, call: Call) -> Reply | None:
        """Raises: Refused."""
        handlers: dict[str, Callable[[str, Fields], Reply | None]] = {"list": self._list, "read": self._read}
        handlers |= {"create": self._write, "update": self._write, "patch": self._patch}
        if call.operation not in handlers:
            raise Refused(405, listed("unsupported operation"))
        fields = Fields(call, METADATA)
        return handlers[call.operation](key, fields)

    def _read(self, key: str, fields: Fields) -> Reply | None:
        secret = self._secrets.get(key)
        return None if secret is None else Reply(secret.metadata())

    def _list(self, key: str, fields: Fields) -> Reply:
        return listing(children(self._secrets, key))

    def _write(self, key: str, fields: Fields) -> Reply | None:
        if not any(name in fields for name in (*_SETTINGS, "custom_metadata")):
            return None
        custom = checked(fields.get("custom_metadata") or {}, keep_nulls=True)
        secret = self._secrets.get(key)
        self._check_and_set(fields, secret)
        moment = now()
        if secret is None:
            secret = self._secrets[key] = Secret(created=moment)
        secret.metadata_version += 1
        secret.updated = moment
        self._set(secret, fields)
        if "custom_metadata" in fields:
            secret.custom = custom
        return None

    def _patch(self, key: str, fields: Fields) -> Reply | None:
        if not any(name in fields for name in (*_SETTINGS, "custom_metadata")):
            return None
        given = fields.get("custom_metadata")
        custom = checked(given or {}, keep_nulls=False)
        secret = self._secrets.get(key)
        if secret is None:
            return bare(404)
        self._check_and_set(fields, secret)
        self._set(secret, fields)
        if "custom_metadata" in fields:
            gone = secret.custom if given is None else {name for name, value in given.items() if value is None}
            secret.custom = {name: value for name, value in (secret.custom | custom).items() if name not in gone}
        secret.metadata_version += 1
        secret.updated = now()
        return None

    def _set(self, secret: Secret, fields: Fields) -> None:
        for name in _SETTINGS:
            if name in fields:
                value = fields.get(name)
                setattr(secret.settings, name, value)

    def _check_and_set(self, fields: Fields, secret: Secret | None) -> None:
        if "metadata_cas" not in fields:
            return
        if secret is None and fields.get("metadata_cas") != 0:
            raise Refused(400, "metadata_cas must be 0 when creating new metadata")
        if secret is not None and fields.get("metadata_cas") != secret.metadata_version:
            raise Refused(400, "metadata check-and-set parameter does not match the current version")


def checked(given: dict[str, Any], *, keep_nulls: bool) -> dict[str, str]:
    """Return the custom metadata as texts. Raises: Refused, if there are too many, too long or unprintable ones."""
    try:
        custom = {name: text(value) for name, value in given.items() if keep_nulls or value is not None}
    except Unreadable as unreadable:
        raise Refused(400, f"{_FAILED}: {unreadable}") from None
    if len(custom) > _MOST:
        most = f"{_FAILED}: payload must contain at most {_MOST} keys, provided {len(custom)}"
        raise Refused(400, listed(most))
    errors = [f"{_FAILED}: {error}" for name, value in custom.items() for error in _errors(name, value)]
    if errors:
        raise Refused(400, listed(*errors))
    return custom


def _errors(name: str, value: str) -> list[str]:
    shown, errors = json.dumps(name, ensure_ascii=False), []
    if not 0 < (length := len(name.encode(errors="replace"))) <= _LONGEST_KEY:
        errors.append(f"length of key {shown} is {length} but must be 0 < len(key) <= {_LONGEST_KEY}")
    if not 0 < (length := len(value.encode(errors="replace"))) <= _LONGEST_VALUE:
        errors.append(f"length of value for key {shown} is {length} but must be 0 < len(value) <= {_LONGEST_VALUE}")
    if not name.isprintable():
        errors.append(f"key {shown} ({name}) contains unprintable characters")
    if not value.isprintable():
        errors.append(f"value for key {shown} contains unprintable characters")
    return errors
