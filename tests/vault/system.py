"""What stands under `sys/`: the mount of a path, capabilities, wrapping."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.vault.answers import Refused, Reply, listed
from tests.vault.calls import Call
from tests.vault.kv1 import PlainSecrets
from tests.vault.kv2 import VersionedSecrets
from tests.vault.policies import Access
from tests.vault.tokens import random_text
from tests.vault.wrapping import Wrapping

_UI = "internal/ui/mounts/"


@dataclass(frozen=True)
class Mount:
    """One engine at one place; `path` is full, with its namespace, and ends in a slash."""

    path: str
    namespace: str
    version: int
    engine: VersionedSecrets | PlainSecrets
    accessor: str = field(default_factory=lambda: f"kv_{random_text(8)}")
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def info(self) -> dict[str, Any]:
        return {
            "accessor": self.accessor,
            "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
            "deprecation_status": "supported",
            "description": "",
            "external_entropy_access": False,
            "local": False,
            "options": {"version": str(self.version)},
            "plugin_version": "",
            "running_plugin_version": "v2.6.2+builtin.bao",
            "running_sha256": "",
            "seal_wrap": False,
            "type": "kv",
            "uuid": self.uuid,
        }


def find_mount(mounts: dict[str, Mount], path: str) -> Mount | None:
    """Return the mount with the longest path that a full path begins with."""
    found = [mounts[prefix] for prefix in mounts if path.startswith(prefix)]
    return max(found, key=lambda mount: len(mount.path), default=mounts.get(f"{path}/"))


class System:
    """The endpoints that a token may ask."""

    def __init__(self, mounts: dict[str, Mount], wrapping: Wrapping) -> None:
        self._mounts = mounts
        self._wrapping = wrapping

    def handle(self, call: Call, access: Access | None) -> Reply | None:
        """Answer a call whose path is relative to `sys/`. Raises: Refused."""
        if call.path.startswith(_UI):
            return self._mount_of(call, access)
        match call.operation, call.path:
            case "update", "capabilities-self":
                return self._capabilities(call, access)
            case "update", "wrapping/unwrap":
                return self._wrapping.unwrap(call)
            case "update", "wrapping/lookup":
                return self._wrapping.lookup(call)
        raise Refused(404, listed("unsupported path"))

    def _mount_of(self, call: Call, access: Access | None) -> Reply:
        if call.operation != "read":
            raise Refused(405, "unsupported operation")
        if access is None:
            raise Refused(403, "permission denied")
        path = call.path.removeprefix(_UI).rstrip("/") + "/"
        mount = find_mount(self._mounts, call.namespace + path)
        if mount is None or not access.sees_mount(mount.path):
            problem = f'please ensure client\'s policies grant access to path "{path}"'
            raise Refused(403, f"preflight capability check returned 403, {problem}")
        shown = mount.path.removeprefix(mount.namespace) if mount.namespace == call.namespace else mount.path
        return Reply(mount.info() | {"path": shown})

    def _capabilities(self, call: Call, access: Access | None) -> Reply:
        paths = call.fields.get("paths") or call.fields.get("path") or []
        paths = paths.split(",") if isinstance(paths, str) else paths
        if not paths:
            raise Refused(400, "paths must be supplied")
        if "" in paths:
            raise Refused(400, listed("missing path"))
        if access is None:
            raise Refused(403, "permission denied")
        told = {path: access.capabilities(call.namespace + path.lstrip("/")) for path in paths}
        return Reply(told | ({"capabilities": told[paths[0]]} if len(paths) == 1 else {}), at_top=True)
