"""The errors of the command; each message is for a person and says what to do next.

    Failure                  exit status 1
    ├── Unreachable          no answer, or half of one: the request may work later, or may have worked
    ├── WrongAnswer          the answer is not that of a Mushu server
    └── Refused              the server refused, and said why

An error of a library is replaced, not chained: it may carry a request with a token.
A wrong command line is Click's `UsageError` and ends with 2.
"""

import errno
from pathlib import Path
from typing import Final

import click

from mushu.printing import print_no_more

#: What a request that is repeated under its Idempotency-Key is told: an earlier one made it, or is at it.
ALREADY_CREATED: Final = "already_created"
IN_PROGRESS: Final = "in_progress"

_CHECK_ADDRESS: Final = "See which server is asked with `mushu config show`, and name another with --url."


class Failure(click.ClickException):
    """The command could not do what it was asked."""


class Unreachable(Failure):
    """The server did not answer, or not to the end."""


class WrongAnswer(Failure):
    """The answer is not that of a Mushu server, or that of another version."""


class Refused(Failure):
    """The server refused.

    Args:
        message: the sentence for a person.
        status: the HTTP status.
        code: the stable code of the problem document, or the `error` of OAuth.
        key_id: the API key that the refusal is about, where it names one.
    """

    def __init__(self, message: str, status: int, code: str, key_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.key_id = key_id


def strange_answer(url: str, why: str) -> WrongAnswer:
    """Return the failure for an answer that no Mushu server gives at this address."""
    return WrongAnswer(f"{url} answers, but not as a Mushu server does: {why}. {_CHECK_ADDRESS}")


def misunderstood(what: str) -> WrongAnswer:
    """Return the failure for JSON that is not what was asked for."""
    return WrongAnswer(
        f"The server's answer is not what this mushu understands: {what}. {_CHECK_ADDRESS} "
        "If the address is right, mushu and the server are of different versions: update the older one."
    )


def fault_of_the_machine(error: Exception) -> str | None:
    """Return the sentence for an error of the operating system that a person can mend; None for any other."""
    if not isinstance(error, OSError):
        return None
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EBADF, errno.EIO):
        print_no_more()
        return f"The answer could not be printed: {error.strerror}."
    try:
        Path.cwd()
    except FileNotFoundError:
        return "The current folder has been deleted. Change to another one, and run the command again."
    return None


def fault_of_ours(error: Exception) -> str:
    """Return the sentence for an error that nobody foresaw; it shows nothing of the error but its type and place."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" if trace is not None else "nowhere"
    return (
        f"mushu failed in a way it should not ({type(error).__name__} in {where}). Please report this line with the "
        "command you ran, without any secret in it."
    )
