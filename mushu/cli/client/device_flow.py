"""The device flow of OAuth (RFC 8628): a code at the terminal, a page in any browser, and no password."""

import getpass
import os
import platform
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from mushu.cli.answers import Answer, number_of, text_of
from mushu.cli.client.api import Api
from mushu.cli.credential_store import StoredLogin
from mushu.cli.errors import Failure, Refused, Unreachable, misunderstood
from mushu.cli.output import Spinner
from mushu.process import child_environment
from mushu.secret import Secret

CLIENT_ID: Final = "mushu-cli"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"

_USER_CODE: Final = re.compile(r"[A-Za-z0-9-]{4,32}")
_WEB_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9\[][!-~]{0,1000}")
_DEFAULT_INTERVAL: Final = 5
_INTERVALS: Final = (1, 60)
_SLOW_DOWN: Final = 5
_LONGEST_WAIT: Final = 3_600


@dataclass(frozen=True, slots=True)
class CodeReply:
    """The server's answer: the code to confirm, the address of the page, and how long the code is good."""

    device_code: Secret
    user_code: str
    address: str
    #: The address with the code in it, for a browser that is opened from here.
    complete_address: str
    #: Both in seconds.
    lifetime: int
    interval: int

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Return the answer, of which everything shown or opened was checked.

        Raises:
            WrongAnswer: a part is missing, or not fit to be shown or opened.
        """
        device_code = answer.get("device_code")
        user_code, address = text_of(answer, "user_code"), text_of(answer, "verification_uri")
        complete = answer.get("verification_uri_complete") or address
        if not isinstance(device_code, Secret) or _USER_CODE.fullmatch(user_code) is None:
            raise misunderstood("it holds no code")
        if not isinstance(complete, str) or not all(_WEB_ADDRESS.fullmatch(url) for url in (address, complete)):
            raise misunderstood("the address to confirm the code at is no web address")
        least, most = _INTERVALS
        return cls(
            device_code,
            user_code,
            address,
            complete,
            min(number_of(answer, "expires_in", 600), _LONGEST_WAIT),
            min(max(number_of(answer, "interval", _DEFAULT_INTERVAL), least), most),
        )


def request_code(api: Api) -> CodeReply:
    """Ask for a code."""
    fields = {"client_id": CLIENT_ID, "client_name": _client_name()}
    return CodeReply.of(api.post_form("auth", "device", "code", fields=fields))


def await_confirmation(api: Api, code: CodeReply) -> StoredLogin:
    """Ask again and again until somebody has confirmed the code.

    Raises:
        Failure: nobody did in time, or somebody refused.
    """
    fields = {"grant_type": GRANT_TYPE, "device_code": code.device_code, "client_id": CLIENT_ID}
    spinner = Spinner("Waiting for you to confirm the code in the browser …")
    pause, end = float(code.interval), time.monotonic() + code.lifetime
    while True:
        if time.monotonic() + pause > end:
            raise Failure("The code was not confirmed in time. Run `mushu auth login` again.")
        spinner.wait(pause)
        try:
            return StoredLogin.of(api.post_form("auth", "token", fields=fields))
        except Unreachable:
            pause = min(pause * 2, _INTERVALS[1])  # RFC 8628, 3.5: back off where the connection fails
        except Refused as refusal:
            pause += _further_pause(refusal)


def can_open_browser() -> bool:
    """Tell whether a browser would come up in front of the person who types."""
    if os.environ.get("BROWSER"):
        return True
    if sys.platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_browser(address: str) -> None:
    """Have a browser opened, by a process that nobody waits for and whose output is nobody's."""
    nothing = subprocess.DEVNULL
    with suppress(OSError):  # the address is shown anyway
        opener = subprocess.Popen(  # noqa: S603 - Python's own opener, and an address that was checked
            [sys.executable, "-I", "-m", "webbrowser", address],
            stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True,
            env=child_environment(),  # a browser, and all that it starts, needs no key
        )  # fmt: skip
        opener.returncode = 0  # nobody waits for it, and Python need not complain of that


def _further_pause(refusal: Refused) -> int:
    """Return by how many seconds the next try is put off; raise what no further try can change."""
    if refusal.code == "authorization_pending":
        return 0
    if refusal.code == "slow_down":
        return _SLOW_DOWN
    if refusal.code == "access_denied":
        raise Failure("The login was refused in the browser. Nothing was stored; run `mushu auth login` to try again.")
    if refusal.code in ("expired_token", "invalid_grant"):
        raise Failure("The code has expired. Run `mushu auth login` again.")
    raise refusal


def _client_name() -> str:
    """Return who asks, for the person who confirms."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"[:100]
