"""What the doctor looks at on the machine, and in the settings."""

import os
import resource
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from mushu.address import is_loopback_host, leaves_in_the_clear
from mushu.destination import ENTRY_POINT_GROUP
from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.db import is_unverified
from mushu.server.errors import ConfigurationError, StorageUnavailable
from mushu.server.instance import SECRET_KEY_FILE
from mushu.server.operation.serving import SUPPORTED as STALLED_CONNECTIONS_SEEN

_ENOUGH_DISK: Final = 256 * 1024 * 1024
#: For 1,024 connections in a worker, and what it needs besides.
_ENOUGH_DESCRIPTORS: Final = 1_536
_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 - looked for


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `detail` says what is there or, where it is bad, how to repair it."""

    name: str
    ok: bool
    detail: str


def permissions(core: Core) -> Iterator[Check]:
    open_paths = [path for path in _private_paths(core.settings) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_paths:
        fixes = "; ".join(f"chmod go= {path}" for path in open_paths)
        yield Check("permissions", False, f"others on this machine can read what is private. Mend it with: {fixes}")
    else:
        yield Check("permissions", True, "only this account can read the secrets and the database")


def _private_paths(settings: Settings) -> list[Path]:
    instance = settings.instance_path
    secrets = [instance / SECRET_KEY_FILE, settings.sealing_keys_path]
    candidates = [instance, *secrets, *instance.glob("*.sqlite3*"), *instance.glob("*.env")]
    return [path for path in candidates if path.exists()]


def disk(core: Core) -> Iterator[Check]:
    free = shutil.disk_usage(core.settings.instance_path).free
    megabytes = free // (1024 * 1024)
    yield Check("disk", free >= _ENOUGH_DISK, f"{megabytes} MB free" + ("" if free >= _ENOUGH_DISK else "; make room"))


def address(core: Core) -> Iterator[Check]:
    settings = core.settings
    served = not is_loopback_host(settings.host) and not settings.public_url.startswith("https://")
    exposed = served or leaves_in_the_clear(settings.base_url)
    advice = "others can reach it over plain http: put TLS in front of it and set MUSHU_PUBLIC_URL=https://…"
    yield Check("address", not exposed, f"{settings.base_url}" + (f"; {advice}" if exposed else ""))


def channels(core: Core) -> Iterator[Check]:
    """What the server itself connects to; Vault, mail and Apple are refused without TLS where they are used."""
    settings, faults = core.settings, []
    if is_unverified(settings.sqlalchemy_url, os.environ):
        faults.append(
            "The database is on another machine, and whoever is in between can read it or stand in for it. Add "
            "?sslmode=verify-full&sslrootcert=/path/to/ca.pem to MUSHU_DATABASE_URL."
        )
    if settings.media_s3_bucket and leaves_in_the_clear(settings.media_s3_endpoint):
        faults.append("Media and their signed addresses go over plain http. Set MUSHU_MEDIA_S3_ENDPOINT=https://…")
    yield Check("channels", not faults, " ".join(faults) or "nothing leaves this machine unencrypted")


def client_address(core: Core) -> Iterator[Check]:
    header, host = core.settings.client_address_header, core.settings.host
    if not header:
        detail = "that of the connection; behind a proxy, set MUSHU_CLIENT_ADDRESS_HEADER (docs/behind-a-proxy.md)"
        yield Check("client address", True, detail)
        return
    detail = f"what the header {header} says, so only the proxy may reach this server"
    advice = f"; it listens on {host}: make sure of that with a firewall, or set MUSHU_HOST"
    # Not called bad: in a container, the network around it may let only the proxy in.
    yield Check("client address", True, detail + (advice if host in _EVERYWHERE else ""))


def connections(_: Core) -> Iterator[Check]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit != resource.RLIM_INFINITY and limit < _ENOUGH_DESCRIPTORS:
        advice = "so slow clients can keep others out. Raise it (systemd: LimitNOFILE=), or put a proxy in front"
        yield Check("connections", False, f"a process may open {limit} files here, {advice}: docs/slow-clients.md.")
    elif not STALLED_CONNECTIONS_SEEN:
        advice = "Put a proxy in front that buffers answers: docs/slow-clients.md."
        yield Check("connections", False, f"this system does not tell which downloads are not taken. {advice}")
    else:
        yield Check("connections", True, "slow ones are ended; floods must be stopped in front (docs/slow-clients.md)")


def plugins(_: Core) -> Iterator[Check]:
    for plugin in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda plugin: plugin.name):
        try:
            plugin.load()
        except Exception as error:
            advice = f"cannot be loaded ({type(error).__name__}: {error}). Install what it needs."
            yield Check(f"destination {plugin.name}:", False, advice)
        else:
            yield Check(f"destination {plugin.name}:", True, f"served by {plugin.value.partition(':')[0]}")


def media(core: Core) -> Iterator[Check]:
    try:
        yield Check("media", True, core.media.storage.check())
    except (ConfigurationError, StorageUnavailable) as error:
        yield Check("media", False, error.detail)
