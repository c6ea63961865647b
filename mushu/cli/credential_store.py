"""The logins of this account: the token of each, kept under the address of the server that issued it."""

import re
from dataclasses import dataclass
from typing import Final, Self

from mushu.cli import config
from mushu.cli.answers import Answer, text_of
from mushu.cli.errors import misunderstood
from mushu.cli.output import note
from mushu.ownership import HAS_OWNERS
from mushu.secret import Secret

# What is allowed in a header; no server of ours issues anything else.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """One login: a token, and whose it is."""

    token: Secret
    user_id: str
    email: str
    expires_at: str

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Return the login that the server answered.

        Raises:
            WrongAnswer: the answer is none.
        """
        token, user = answer.get("access_token"), answer.get("user")
        if not isinstance(token, Secret) or _TOKEN.fullmatch(token.reveal()) is None:
            raise misunderstood("it holds no token")
        if not isinstance(user, dict):
            raise misunderstood("it does not say whose token it is")
        return cls(token, text_of(user, "user_id"), text_of(user, "email"), text_of(answer, "expires_at"))


def find_login(url: str) -> StoredLogin | None:
    """Return the login at this server, or None; one that was tampered with is none."""
    kept = config.read(config.CREDENTIALS).get(url)
    if not isinstance(kept, dict):
        return None
    token = kept.get("token")
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        return None
    told = (kept.get(name) for name in ("user_id", "email", "expires_at"))
    return StoredLogin(Secret(token), *(value if isinstance(value, str) else "" for value in told))


def servers() -> list[str]:
    """Return the addresses of the servers that this account is logged in to."""
    return sorted(config.read(config.CREDENTIALS))


def remember(url: str, login: StoredLogin) -> None:
    if not HAS_OWNERS:
        note(f"This system has no file modes. Make sure that only you can read {config.folder()}: it holds the token.")
    with config.changing(config.CREDENTIALS) as kept:
        kept[url] = {
            "token": login.token.reveal(),
            "user_id": login.user_id,
            "email": login.email,
            "expires_at": login.expires_at,
        }


def forget(url: str) -> None:
    with config.changing(config.CREDENTIALS) as kept:
        kept.pop(url, None)
