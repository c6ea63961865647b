"""What stands under `sys/`: mounts, capabilities, wrapping; and the two pages that need no token."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.vault.answers import Answer, Refused, Reply, answered, listed
from tests.vault.calls import Asked, Call
from tests.vault.kv1 import PlainSecrets
from tests.vault.kv2 import VersionedSecrets
from tests.vault.policies import Access
from tests.vault.tokens import random_text
from tests.vault.wrapping import Wrapping

VERSIONS = {"OpenBao": "2.6.2", "Vault": "1.20.4"}
_CLUSTER = {"cluster_name": "vault-cluster-stub", "cluster_id": "6e8f1a3c-0000-4000-8000-000000000000"}
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
            "running_plugin_version": f"v{VERSIONS['OpenBao']}+builtin.bao",
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
            case "read", "mounts":
                inside = [mount for mount in self._mounts.values() if mount.namespace == call.namespace]
                return Reply({mount.path.removeprefix(call.namespace): mount.info() for mount in inside}, at_top=True)
            case "update", "capabilities-self":
                return self._capabilities(call, access)
            case "update", "wrapping/unwrap":
                return self._wrapping.unwrap(call)
            case "update", "wrapping/lookup":
                return self._wrapping.lookup(call)
            case _, "mounts" | "capabilities-self" | "wrapping/unwrap" | "wrapping/lookup":
                raise Refused(405, listed("unsupported operation"))
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


def status_page(asked: Asked, product: str, *, sealed: bool, standby: bool) -> Answer | None:
    """Answer `sys/health` and `sys/seal-status`; None for all else."""
    cluster = {} if sealed else _CLUSTER
    common = {"initialized": True, "sealed": sealed, "version": VERSIONS[product]}
    if asked.path == "/v1/sys/init" and asked.method == "GET":
        return answered(200, {"initialized": True})
    if asked.path not in ("/v1/sys/health", "/v1/sys/seal-status"):
        return None
    if asked.headers.get("x-vault-namespace", "").strip("/"):
        raise Refused(400, "operation unavailable in namespaces")
    if asked.method not in ("GET", "HEAD"):
        raise Refused(405)
    if asked.path == "/v1/sys/health":
        modes = {"replication_performance_mode": "disabled", "replication_dr_mode": "disabled"}
        status = 503 if sealed else 429 if standby and "standbyok" not in asked.query else 200
        return answered(status, common | {"standby": standby, "server_time_utc": int(time.time())} | modes | cluster)
    progress = {"type": "shamir", "t": 1, "n": 1, "progress": 0, "nonce": "", "migration": False}
    rest = {"recovery_seal": False, "commit_date": "", "storage_type": "inmem"}
    return answered(200, common | progress | rest | cluster)
