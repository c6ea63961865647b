"""The CLI tokens of the servers that this account is logged in to, each kept under the address that issued it."""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from mushu.cli import storage
from mushu.cli.answers import Answer, text_of
from mushu.cli.faults import misunderstood
from mushu.secret import Secret

# What may stand in a header; no server of ours issues anything else.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")


@dataclass(frozen=True, slots=True)
class Login:
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


def find_login(url: str) -> Login | None:
    """Return the login at this server, or None; one that was tampered with is none."""
    kept = storage.read(storage.CREDENTIALS).get(url)
    if not isinstance(kept, dict):
        return None
    token = kept.get("token")
    if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
        return None
    user_id, email, expires_at = (_text(kept.get(name)) for name in ("user_id", "email", "expires_at"))
    return Login(Secret(token), user_id, email, expires_at)


def servers() -> list[str]:
    """Return the addresses of the servers that this account is logged in to."""
    return sorted(storage.read(storage.CREDENTIALS))


def remember(url: str, login: Login) -> None:
    with storage.changing(storage.CREDENTIALS) as kept:
        kept[url] = {
            "token": login.token.reveal(),
            "user_id": login.user_id,
            "email": login.email,
            "expires_at": login.expires_at,
        }


def forget(url: str) -> None:
    with storage.changing(storage.CREDENTIALS) as kept:
        kept.pop(url, None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
