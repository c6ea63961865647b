"""Where settings come from: the destination's own, then Vault's variables, then OpenBao's names for them."""

import os
from collections.abc import Mapping
from typing import Final

from mushu.destination import DestinationError, Secret

# `bool` of Vault's command line, and what people write for it; anything else counts as yes, to be on the safe side.
_NO: Final = frozenset({"", "0", "f", "false", "n", "no", "off"})

#: What can be set for one destination, or by MUSHU_VAULT_…; `docs/destinations/vault.md` says what each means.
KNOWN: Final = frozenset(
    {
        "addr", "namespace", "cacert", "capath", "client_cert", "client_key", "tls_server_name", "skip_verify",
        "timeout", "connect_timeout", "auth", "auth_mount", "token", "role_id", "secret_id", "wrapped_secret_id_file",
        "secret_id_file", "role", "jwt_file",
    }
)  # fmt: skip

#: Those that name a file or a folder; the latter are read from no variable of Vault's.
_PATHS: Final = ("cacert", "capath", "client_cert", "client_key", "secret_id_file")
_OWN_PATHS: Final = ("wrapped_secret_id_file", "jwt_file")
_LONGEST: Final = 600.0


class Settings:
    """One look-up for all sources. Shows nothing of what they hold, in no traceback.

    Args:
        own: the plugin's settings, by name in lower case.
        environ: the environment; read when it is asked.
    """

    __slots__ = ("_environ", "_own")

    def __init__(self, own: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> None:
        self._own = own
        self._environ = environ

    def own(self, name: str) -> str:
        """Return the plugin's own setting `name`; empty where it is not set."""
        return self._own.get(name, "").strip()

    def variable(self, name: str) -> str:
        """Return VAULT_`NAME`, or BAO_`NAME` where that is not set; empty where none is."""
        suffix = name.upper()
        return (self._environ.get(f"VAULT_{suffix}") or self._environ.get(f"BAO_{suffix}", "")).strip()

    def find(self, name: str) -> str:
        """Return the setting `name` from the first source that has it; empty where none has."""
        return self.own(name) or self.variable(name)

    def secret(self, name: str) -> Secret | None:
        """Return the plugin's own setting `name`, wrapped; None where it is not set."""
        return Secret(self.own(name)) if self.own(name) else None

    def secret_variable(self, name: str) -> Secret | None:
        """Return VAULT_`NAME`, wrapped; None where it is not set."""
        return Secret(self.variable(name)) if self.variable(name) else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the plugin's own address is another server than the one that Vault's variables are about."""
        own, usual = self.own("addr").rstrip("/"), self.variable("addr").rstrip("/")
        return bool(own and usual and own != usual)

    def home(self) -> str:
        """Return the home folder; empty where it is not known."""
        return self._environ.get("HOME", "")

    def seconds(self, name: str, default: float) -> float:
        """Return the plugin's own setting `name` as seconds.

        Raises:
            DestinationError: it is not a number of seconds; permanent.
        """
        try:
            seconds = float(self.own(name) or default)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds <= _LONGEST:
            raise DestinationError(
                f"MUSHU_VAULT_{name.upper()} must be a number of seconds, more than 0 and at most {_LONGEST:.0f}.",
                permanent=True,
            )
        return seconds

    def refuse_relative(self) -> None:
        """Raise if a path is another file in another folder: whoever made that folder would say whom to trust."""
        named = [(f"MUSHU_VAULT_{name.upper()}", self.own(name)) for name in (*_PATHS, *_OWN_PATHS)]
        named += [(f"VAULT_{name.upper()}", self.variable(name)) for name in _PATHS]
        for variable, path in named:
            if path and not path.startswith("/"):
                raise DestinationError(
                    f"{variable} must be an absolute path: a relative one is another file wherever a command runs.",
                    permanent=True,
                )

    def refuse_unverified(self) -> None:
        """Raise if somebody wants certificates not to be verified: a key would go to whoever stands in between."""
        if any(answer.lower() not in _NO for answer in (self.own("skip_verify"), self.variable("skip_verify"))):
            raise DestinationError(
                "VAULT_SKIP_VERIFY is set, and a key is not sent to a server that nobody has verified. Unset it, and "
                "set VAULT_CACERT to the certificate of the authority that signed the server's.",
                permanent=True,
            )
