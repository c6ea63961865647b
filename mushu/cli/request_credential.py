"""What proves to a server who asks: the token of a login, or the API key of the environment.

A key is only taken from `MUSHU_API_KEY`: an argument would be in the history of the shell and in the list of processes.
"""

import os
from dataclasses import dataclass
from typing import Final, Literal

from mushu.cli.errors import Failure
from mushu.environment import Environment
from mushu.secret import Secret

KEY_VARIABLE: Final = "MUSHU_API_KEY"


@dataclass(frozen=True, slots=True)
class RequestCredential:
    """What goes into the `Authorization` header."""

    scheme: Literal["Bearer", "ApiKey"]
    secret: Secret
    #: The one environment that an API key works in; None for a login, which works in both.
    environment: Environment | None = None

    @property
    def is_key(self) -> bool:
        return self.scheme == "ApiKey"


def of_login(token: Secret) -> RequestCredential:
    return RequestCredential("Bearer", token)


def find_key() -> RequestCredential | None:
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
    environment = next((one for one, of_key in keyformat.KEY_PREFIXES.items() if of_key is prefix), None)
    if environment is None:
        raise Failure(
            f"{KEY_VARIABLE} holds no API key, or one that is mistyped or cut short. One begins with msk_live_ or "
            "msk_test_; unset the variable to use your login."
        )
    return RequestCredential("ApiKey", Secret(text), environment)
