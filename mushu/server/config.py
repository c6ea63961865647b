"""The settings of one server: read once, frozen, and checked as a whole.

Each field has a default here. `settings.toml` in the instance folder overrides it, and the environment variable
`MUSHU_` + its name in capitals overrides both. `docs/settings.md` lists them all; a test compares the two.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from mushu.server import setting_checks as checks
from mushu.server.client_address import address_header
from mushu.server.errors import ConfigurationError
from mushu.server.instance import (
    LIMITS_FILE,
    SEALING_KEYS_FILE,
    SETTINGS_FILE,
    faults_elsewhere,
    instance_path,
    listening_at,
    refuse_foreign,
    sqlite_url,
)
from mushu.server.machine_faults import explained
from mushu.server.setting_checks import APNS_PRODUCTION, SettingCheck, between

PREFIX: Final = "MUSHU_"
#: Not settings of the server, yet of our prefix: clients and destinations read them.
FOREIGN: Final = frozenset({"MUSHU_API_KEY", "MUSHU_ORG_ID", "MUSHU_TENANT_ID", "MUSHU_URL", "MUSHU_INSTANCE_PATH"})

#: Settings that are gone, and what stands in their place. To pass over one in silence could open what it closed.
GONE: Final = {
    "trusted_proxies": (
        "is gone, because a client could forge the header that it believed. Remove it, have your proxy set a header "
        f"such as Mushuclientip, and set {PREFIX}CLIENT_ADDRESS_HEADER=Mushuclientip. See docs/behind-a-proxy.md"
    ),
}
#: Requests that have given way to others and are being answered; they hold threads beyond all others.
MOST_LEAVING: Final = 8


def _checked(default: object, check: SettingCheck) -> Any:
    """Return a field of `Settings` whose value passes the check."""
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be set; units are in the names."""

    #: Holds the database, the secrets and `settings.toml`. Set by MUSHU_INSTANCE_PATH only.
    instance_path: Path
    #: SQLAlchemy URL; empty means SQLite in the instance folder.
    database_url: str = _checked("", checks.database_url)
    host: str = "127.0.0.1"
    port: int = _checked(8000, between(1, 65_535))
    workers: int = _checked(1, between(1, 256))
    #: Threads a worker keeps for requests that only read.
    threads: int = _checked(2, between(1, 256))
    #: Requests with a body, or that change something, in work at once in one worker.
    bodies: int = _checked(16, between(1, 256))
    #: How long a connection may take for the head of a request, and rest between two.
    idle_seconds: int = _checked(15, between(1, 3_600))
    #: How long a body or an answer may stand still.
    stall_seconds: int = _checked(30, between(1, 3_600))
    #: What a body must bring, and an answer must be taken by, after that time and on average.
    slowest_bytes_a_second: int = _checked(1_024, between(1, 1_048_576))
    #: The address people and clients reach the server at; empty means http://HOST:PORT.
    public_url: str = _checked("", checks.web_address)
    #: The header in which the proxy in front says where a request comes from; empty: no proxy, the peer counts.
    client_address_header: str = _checked("", address_header)
    #: Mail server as smtp://user:password@host:port, smtps://… for TLS from the start; empty: links are printed.
    smtp_url: str = _checked("", checks.mail_server)
    #: The sender of mail.
    mail_from: str = _checked("mushu@localhost", checks.mail_address)
    #: The first user, made by the first start.
    owner_email: str = _checked("owner@localhost", checks.mail_address)
    log_level: str = _checked("INFO", checks.log_level)
    #: Which requests are logged: none, or those of the API and the pages, or also those that only ask about keys.
    access_log: str = _checked("api", checks.one_of("off", "api", "all"))
    #: Where to; empty: standard error.
    access_log_file: str = _checked("", checks.absolute_path)
    #: How long one attempt to deliver a key may take before others may judge it dead.
    delivery_lease_seconds: int = _checked(60, between(1, 86_400))
    #: How often each worker writes down which keys were used; 0: never, and no rotation sees its new key in use.
    usage_seconds: int = _checked(1, between(0, 3_600))
    #: How often the server looks for what time and crashes left to do, such as a key that is to retire; 0: never.
    housekeeping_seconds: int = _checked(60, between(0, 86_400))
    #: The file with the keys that encrypt what must be read back; empty: `sealing_keys` in the instance folder. Servers
    #: that share a database share it, too.
    sealing_keys_file: str = _checked("", checks.absolute_path)
    #: The Redis or Valkey in which several machines count requests of keys with limits; empty: a file of this one.
    limits_url: str = _checked("", checks.limits_store)
    #: Largest request body the API takes.
    max_body_bytes: int = _checked(1_048_576, between(1_024, 1_073_741_824))
    #: Organizations that one user may own; operators may make more.
    orgs_per_user: int = _checked(20, between(0, 1_000_000))
    #: How long notifications are kept, with their outcomes; 0: without an end.
    keep_notifications_days: int = _checked(90, between(0, 36_500))
    #: Apple's push service.
    apns_url: str = _checked(APNS_PRODUCTION, checks.push_service)
    #: Apple's sandbox, where all test notifications go.
    apns_sandbox_url: str = _checked("https://api.sandbox.push.apple.com", checks.push_service)
    #: Where media are kept (empty: `media` in the instance folder), or the S3 bucket that keeps them instead.
    media_folder: str = _checked("", checks.absolute_path)
    media_s3_bucket: str = ""
    #: Empty: Amazon's. Clients upload to it, so they must reach it.
    media_s3_endpoint: str = _checked("", checks.web_address)
    media_s3_region: str = ""
    media_s3_prefix: str = "mushu/"
    media_s3_addressing: str = _checked("auto", checks.one_of("auto", "path", "virtual"))
    #: Largest file; 5 GiB is also what one upload to S3 can hold.
    media_max_bytes: int = _checked(5_368_709_120, between(1, 5_368_709_120))
    #: Largest picture: the memory that decoding one takes follows from it.
    media_max_pixels: int = _checked(50_000_000, between(1, 200_000_000))
    #: Uploads, downloads, pictures and notifications in work at once in one worker, in threads of their own.
    transfers: int = _checked(8, between(1, 256))
    #: Argon2id for passwords (OWASP's second choice: t=2, m=19 MiB, p=1).
    argon2_time_cost: int = _checked(2, between(1, 100))
    argon2_memory_kib: int = _checked(19_456, between(8, 4_194_304))
    #: Passwords checked at once in one worker; the rest wait, so that logins cannot starve the API.
    argon2_concurrency: int = _checked(2, between(1, 64))

    @classmethod
    def as_served(cls) -> Self:
        """Read them with the address that the running server listens on, which links are to name."""
        settings = cls.load()
        address = listening_at(settings.instance_path)
        return settings if address is None else replace(settings, host=address[0], port=address[1])

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read and check the settings.

        Raises:
            ConfigurationError: naming every fault at once.
        """
        instance = instance_path(environ)
        refuse_foreign(instance)  # before anything in it is believed
        given, faults = _read_file(instance / SETTINGS_FILE)
        given |= {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX) and name not in FOREIGN
        }
        faults += [f"{PREFIX}{name.upper()} {advice}" for name, advice in GONE.items() if name in given]
        values: dict[str, object] = {}
        for setting in fields(cls):
            if setting.name == "instance_path" or setting.name not in given:
                continue
            raw = given[setting.name]
            if setting.type in (int, "int"):
                try:
                    values[setting.name] = int(str(raw))
                except ValueError:
                    faults.append(f"{PREFIX}{setting.name.upper()} must be a whole number, not {_shown(raw)}")
            elif isinstance(raw, str):
                values[setting.name] = raw
            else:
                faults.append(f"{PREFIX}{setting.name.upper()} must be a text, in quotes")
        settings = cls(instance_path=instance, **values)  # type: ignore[arg-type]
        elsewhere = {name: getattr(settings, name) for name in ("database_url", "sealing_keys_file", "media_folder")}
        _refuse(faults + settings.faults() + faults_elsewhere(elsewhere))
        return settings

    def validate(self) -> None:
        """Check the settings.

        Raises:
            ConfigurationError: naming every fault at once.
        """
        _refuse(self.faults())

    def faults(self) -> list[str]:
        """Return what is wrong, a sentence each; an empty list when nothing is."""
        found = [
            f"{PREFIX}{one.name.upper()} {fault}"
            for one in fields(self)
            if (check := one.metadata.get("check")) and (fault := check(getattr(self, one.name)))
        ]
        return found + self._apns_faults()

    def _apns_faults(self) -> list[str]:
        if checks.push_service(self.apns_url) or checks.push_service(self.apns_sandbox_url):
            return []  # said already
        sandbox, production = urlsplit(self.apns_sandbox_url), urlsplit(self.apns_url)
        if sandbox.netloc != production.netloc and sandbox.hostname != urlsplit(APNS_PRODUCTION).hostname:
            return []
        return [f"{PREFIX}APNS_SANDBOX_URL must be another host: test notifications never reach production"]

    @property
    def worker_threads(self) -> int:
        """How many threads a worker has, so that those for reading are left whatever the others wait for."""
        return self.threads + self.transfers + self.bodies + MOST_LEAVING

    @property
    def body_threads(self) -> int:
        """How many threads the requests with a body have, with those that were given up (web/direct_bodies.py)."""
        return self.bodies * 2 + MOST_LEAVING

    @property
    def uses_sqlite(self) -> bool:
        return self.sqlalchemy_url.startswith("sqlite")

    @property
    def sqlalchemy_url(self) -> str:
        if not self.database_url:
            return sqlite_url(self.instance_path / "mushu.sqlite3")
        # psycopg 3 is the driver that is installed; a bare postgresql:// would ask for psycopg2.
        scheme, rest = self.database_url.split(":", 1)
        return f"postgresql+psycopg:{rest}" if scheme == "postgresql" else self.database_url

    @property
    def sealing_keys_path(self) -> Path:
        return Path(self.sealing_keys_file) if self.sealing_keys_file else self.instance_path / SEALING_KEYS_FILE

    @property
    def limits_path(self) -> Path:
        return self.instance_path / LIMITS_FILE

    @property
    def media_path(self) -> Path:
        return Path(self.media_folder) if self.media_folder else self.instance_path / "media"

    @property
    def base_url(self) -> str:
        """The address for links, without a slash at its end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def delivery_lease(self) -> timedelta:
        return timedelta(seconds=self.delivery_lease_seconds)

    @property
    def keep_notifications(self) -> timedelta | None:
        """How long notifications are kept; None: without an end."""
        return timedelta(days=self.keep_notifications_days) if self.keep_notifications_days else None


def _read_file(path: Path) -> tuple[dict[str, object], list[str]]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:  # not UTF-8, not TOML, a number of ten thousand digits
        return {}, [explained(error) or f"{path} cannot be read: {error}"]
    except RecursionError:
        return {}, [f"{path} cannot be read: it is nested too deep"]
    known = {setting.name for setting in fields(Settings)} - {"instance_path"}
    faults = [f"{path} sets {name!r}, which is no setting" for name in content if name not in known | GONE.keys()]
    return {name: value for name, value in content.items() if name in known | GONE.keys()}, faults


def _shown(raw: object) -> str:
    """Return a value as a message shows it; Python refuses to write numbers of ten thousand digits."""
    try:
        return repr(raw)
    except ValueError:
        return "a number of so many digits"


def _refuse(faults: list[str]) -> None:
    if faults:
        raise ConfigurationError("The settings are wrong:\n" + "\n".join(f"  - {fault}" for fault in faults))
