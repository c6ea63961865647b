"""With what a request says who asks: the token of a login, or the API key that the environment holds.

A key is only ever taken from `MUSHU_API_KEY`: an argument would stand in the history of the shell and in the list of
processes.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mushu.cli.faults import Failure
from mushu.secret import Secret

if TYPE_CHECKING:
    from mushu.cli.keyring import Environment

KEY_VARIABLE: Final = "MUSHU_API_KEY"


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes into the `Authorization` header."""

    scheme: Literal["Bearer", "ApiKey"]
    secret: Secret
    #: The one environment that an API key works in; None for a login, which works in both.
    environment: "Environment | None" = None

    @property
    def is_key(self) -> bool:
        return self.scheme == "ApiKey"


def of_login(token: Secret) -> Credential:
    return Credential("Bearer", token)


def find_key() -> Credential | None:
    """Return the API key of the environment, or None where it holds none.

    Raises:
        Failure: what it holds is no API key; it is not repeated.
    """
    text = os.environ.get(KEY_VARIABLE, "").strip()
    if not text:
        return None
    from mushu import keyformat

    try:
        prefix = keyformat.parse(text)
    except ValueError:
        prefix = None
    if prefix not in (keyformat.Prefix.LIVE_KEY, keyformat.Prefix.TEST_KEY):
        raise Failure(
            f"{KEY_VARIABLE} holds no API key, or one that is mistyped or cut short. One begins with msk_live_ or "
            "msk_test_; unset the variable to use your login."
        )
    return Credential("ApiKey", Secret(text), "test" if prefix is keyformat.Prefix.TEST_KEY else "live")
