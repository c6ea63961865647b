"""The settings of one server: read once, frozen, and checked as a whole.

Each field is set by, in rising order, its default here, `settings.toml` in the instance folder, and the environment
variable `MUSHU_` + its name in capitals. `docs/settings.md` lists them all; a test compares the two.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from mushu.server.addresses import is_mail_server, is_push_service, is_web_address
from mushu.server.client_address import header_fault
from mushu.server.errors import ConfigurationError
from mushu.server.location import faults_elsewhere, instance_path, refuse_foreign

PREFIX: Final = "MUSHU_"
SETTINGS_FILE: Final = "settings.toml"
#: Tells of revoked keys (`keys/journal.py`).
JOURNAL_FILE: Final = "revoked-keys"
SECRET_KEY_FILE: Final = "secret_key"  # noqa: S105 - the name of a file
SEALING_KEYS_FILE: Final = "sealing_keys"
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
APNS_PRODUCTION: Final = "https://api.push.apple.com"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be set; units are in the names."""

    #: Holds the database, the secrets and `settings.toml`. Set by MUSHU_INSTANCE_PATH only.
    instance_path: Path
    #: SQLAlchemy URL; empty means SQLite in the instance folder.
    database_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    #: Threads a worker keeps for requests that only read.
    threads: int = 2
    #: Requests with a body, or that change something, in work at once in one worker.
    bodies: int = 16
    #: How long a connection may take for the head of a request, and rest between two.
    idle_seconds: int = 15
    #: How long a body or an answer may stand still.
    stall_seconds: int = 30
    #: What a body must bring, and an answer must be taken by, after that time and on average.
    slowest_bytes_a_second: int = 1_024
    #: The address people and clients reach the server at; empty means http://HOST:PORT.
    public_url: str = ""
    #: The header in which the proxy in front says where a request comes from; empty: no proxy, the peer counts.
    client_address_header: str = ""
    #: Mail server as smtp://user:password@host:port, smtps://… for TLS from the start; empty: links are printed.
    smtp_url: str = ""
    #: The sender of mail.
    mail_from: str = "mushu@localhost"
    #: The first user, made by the first start.
    owner_email: str = "owner@localhost"
    log_level: str = "INFO"
    #: How long one attempt to deliver a key may take before others may judge it dead.
    delivery_lease_seconds: int = 60
    #: How often each worker writes down which keys were used; 0: never, and no rotation sees its new key in use.
    usage_seconds: int = 1
    #: How often the server looks for what time and crashes left to do, such as a key that is to retire; 0: never.
    housekeeping_seconds: int = 60
    #: The file with the keys that encrypt what must be read back; empty: `sealing_keys` in the instance folder. Servers
    #: that share a database share it, too.
    sealing_keys_file: str = ""
    #: Largest request body the API takes.
    max_body_bytes: int = 1_048_576
    #: Organizations that one user may own; operators may make more.
    orgs_per_user: int = 20
    #: How long notifications are kept, with what became of them; 0: for ever.
    keep_notifications_days: int = 90
    #: Apple's push service.
    apns_url: str = APNS_PRODUCTION
    #: Apple's sandbox, where all test notifications go.
    apns_sandbox_url: str = "https://api.sandbox.push.apple.com"
    #: Where media are kept (empty: `media` in the instance folder), or the S3 bucket that keeps them instead.
    media_folder: str = ""
    media_s3_bucket: str = ""
    #: Empty: Amazon's. Clients upload to it, so they must reach it.
    media_s3_endpoint: str = ""
    media_s3_region: str = ""
    media_s3_prefix: str = "mushu/"
    media_s3_addressing: str = "auto"
    #: Largest file; 5 GiB is also what one upload to S3 can hold.
    media_max_bytes: int = 5_368_709_120
    #: Largest picture: the memory that decoding one takes follows from it.
    media_max_pixels: int = 50_000_000
    #: Uploads, downloads, pictures and notifications in work at once in one worker, in threads of their own.
    transfers: int = 8
    #: Argon2id for passwords (OWASP's second choice: t=2, m=19 MiB, p=1).
    argon2_time_cost: int = 2
    argon2_memory_kib: int = 19_456
    #: Passwords checked at once in one worker; the rest wait, so that logins cannot starve the API.
    argon2_concurrency: int = 2

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
        for field in fields(cls):
            if field.name == "instance_path" or field.name not in given:
                continue
            raw = given[field.name]
            if field.type in (int, "int"):
                try:
                    values[field.name] = int(str(raw))
                except ValueError:
                    faults.append(f"{PREFIX}{field.name.upper()} must be a whole number, not {_shown(raw)}")
            elif isinstance(raw, str):
                values[field.name] = raw
            else:
                faults.append(f"{PREFIX}{field.name.upper()} must be a text, in quotes")
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
        bounds = {
            "port": (1, 65_535),
            "workers": (1, 256),
            "threads": (1, 256),
            "bodies": (1, 256),
            "idle_seconds": (1, 3_600),
            "stall_seconds": (1, 3_600),
            "slowest_bytes_a_second": (1, 1_048_576),
            "delivery_lease_seconds": (1, 86_400),
            "usage_seconds": (0, 3_600),
            "housekeeping_seconds": (0, 86_400),
            "max_body_bytes": (1_024, 1_073_741_824),
            "orgs_per_user": (0, 1_000_000),
            "keep_notifications_days": (0, 36_500),
            "media_max_bytes": (1, 5_368_709_120),
            "media_max_pixels": (1, 200_000_000),
            "transfers": (1, 256),
            "argon2_time_cost": (1, 100),
            "argon2_memory_kib": (8, 4_194_304),
            "argon2_concurrency": (1, 64),
        }
        found = [
            f"{PREFIX}{name.upper()} must lie between {low} and {high}, not be {getattr(self, name)}"
            for name, (low, high) in bounds.items()
            if not low <= getattr(self, name) <= high
        ]
        if self.log_level.upper() not in LOG_LEVELS:
            found.append(f"{PREFIX}LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, not {self.log_level!r}")
        if "@" not in self.owner_email:
            found.append(f"{PREFIX}OWNER_EMAIL must be an e-mail address, not {self.owner_email!r}")
        found += [
            f"{PREFIX}{name.upper()} must be a web address such as https://keys.example.com"
            for name in ("public_url", "media_s3_endpoint")
            if getattr(self, name) and not is_web_address(getattr(self, name))
        ]
        if self.smtp_url and not is_mail_server(self.smtp_url):
            # Not repeated: it holds a password.
            found.append(f"{PREFIX}SMTP_URL must look like smtp://user:password@mail.example.com:587")
        found += [
            f"{PREFIX}{name.upper()} must be an absolute path, not {getattr(self, name)!r}"
            for name in ("sealing_keys_file", "media_folder")
            if getattr(self, name) and not Path(getattr(self, name)).is_absolute()
        ]
        if "@" not in self.mail_from or not self.mail_from.isprintable():
            found.append(f"{PREFIX}MAIL_FROM must be an e-mail address, not {self.mail_from!r}")
        if self.client_address_header and (fault := header_fault(self.client_address_header)):
            found.append(f"{PREFIX}CLIENT_ADDRESS_HEADER {fault}")
        found += self._apns_faults()
        if self.media_s3_addressing not in ("auto", "path", "virtual"):
            found.append(f"{PREFIX}MEDIA_S3_ADDRESSING is auto, path or virtual, not {self.media_s3_addressing!r}")
        scheme = self.database_url.split(":", 1)[0]
        if self.database_url and scheme.split("+")[0] not in ("sqlite", "postgresql"):
            # Not repeated whole: it may hold a password.
            found.append(
                f"{PREFIX}DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://, not with {scheme!r}"
            )
        if scheme.startswith("sqlite") and not self.database_url.partition(":")[2].startswith("////"):
            found.append(f"{PREFIX}DATABASE_URL must name an absolute path, with four slashes: sqlite:////path/to.db")
        return found

    def _apns_faults(self) -> list[str]:
        found = [
            f"{PREFIX}{name.upper()} must look like {APNS_PRODUCTION}; http is for a stand-in on this machine only"
            for name in ("apns_url", "apns_sandbox_url")
            if not is_push_service(getattr(self, name))
        ]
        if not found:
            sandbox, production = urlsplit(self.apns_sandbox_url), urlsplit(self.apns_url)
            if sandbox.netloc == production.netloc or sandbox.hostname == urlsplit(APNS_PRODUCTION).hostname:
                found.append(
                    f"{PREFIX}APNS_SANDBOX_URL must be another host: test notifications never reach production"
                )
        return found

    @property
    def worker_threads(self) -> int:
        """How many threads a worker has, so that those for reading are left whatever the others wait for."""
        return self.threads + self.transfers + self.bodies + MOST_LEAVING

    @property
    def sqlalchemy_url(self) -> str:
        if not self.database_url:
            return f"sqlite:///{self.instance_path / 'mushu.sqlite3'}"
        # psycopg 3 is the driver that is installed; a bare postgresql:// would ask for psycopg2.
        scheme, rest = self.database_url.split(":", 1)
        return f"postgresql+psycopg:{rest}" if scheme == "postgresql" else self.database_url

    @property
    def sealing_keys_path(self) -> Path:
        return Path(self.sealing_keys_file) if self.sealing_keys_file else self.instance_path / SEALING_KEYS_FILE

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
        """How long notifications are kept; None for ever."""
        return timedelta(days=self.keep_notifications_days) if self.keep_notifications_days else None


def _read_file(path: Path) -> tuple[dict[str, object], list[str]]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:  # not UTF-8, not TOML, a number of ten thousand digits
        return {}, [f"{path} cannot be read: {error}"]
    except RecursionError:
        return {}, [f"{path} cannot be read: it is nested too deep"]
    known = {field.name for field in fields(Settings)} - {"instance_path"}
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
