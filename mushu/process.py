"""What this process leaves behind, and what a program that it starts may know: nothing that holds or opens anything.

A key that is being delivered is in the memory of one process. The operating system can copy that memory out of it: as a
core dump when it crashes, and to any other process of the same user that asks. TLS libraries can, where an environment
variable asks for it, write down what decrypts a recorded conversation. `harden` ends all three, and is called before
anything is minted or read: by the commands of operators, by the server and its workers, and by the `mushu` command.

A child inherits the environment of its parent, and passes it on to children of its own. In it may stand the key that an
application is to read, the password of a database, or the token of a destination. A program that needs none of them
gets an environment without them: whoever starts one takes it from `child_environment`. Standard library only.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final
from weakref import WeakMethod

#: Where TLS libraries, of this process and of its plugins, write the keys of their connections to.
KEY_LOG_VARIABLE: Final = "SSLKEYLOGFILE"

_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>
_SUID_DUMP_DISABLE: Final = 0
_OTHERS: Final = 0o077
#: Settings of the server and of its destinations, and the keys of clients.
_OURS: Final = "MUSHU_"
#: Names under which programs are told a secret, such as VAULT_TOKEN, AWS_SECRET_ACCESS_KEY, PGPASSWORD, DEPLOY_KEY.
_SECRET_NAME: Final = re.compile(
    r"token|secret|passw|passphrase|credential|private|apikey|_(?:key|pwd|pat|pass)$", re.IGNORECASE
)
#: An address with a password in it, such as DATABASE_URL and HTTPS_PROXY have.
_PASSWORD_IN_ADDRESS: Final = re.compile(r"://[^/?#\s:@]*:[^/?#\s@]+@")


def harden() -> None:
    """Allow no core dump, no look into the memory by others of the same user, and no log of TLS keys; for good.

    Children inherit it until they run another program, which then has no core dumps either. Does as much of it as the
    operating system knows, and is safe to call again.
    """
    os.environ.pop(KEY_LOG_VARIABLE, None)
    _allow_no_core()
    _allow_no_look()


def keep_files_private() -> None:
    """Make files for this account only from now on, whatever umask this process was started with."""
    os.umask(os.umask(_OTHERS) | _OTHERS)


def call_in_children(act: Callable[[], None]) -> None:
    """Have a method of an object be called in each child that is forked, for as long as the object lives."""
    method = WeakMethod(act)

    def call() -> None:
        found = method()
        if found is not None:
            found()

    os.register_at_fork(after_in_child=call)


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for a child: without secrets, and with a PATH that no current folder takes part in.

    What is a secret shows in the value, where it has the form of one of our credentials or is an address with a
    password, or in the name.
    """
    kept = {name: value for name, value in environ.items() if not _is_secret(name, value)}
    if "PATH" in kept:
        kept["PATH"] = os.pathsep.join(folder for folder in kept["PATH"].split(os.pathsep) if os.path.isabs(folder))  # noqa: PTH117
    return kept


def _allow_no_core() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource  # POSIX

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow_no_look() -> None:
    """Beyond /proc/PID/mem and debuggers, this is what stops a core dump that is piped to a program: no limit does."""
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *map(ctypes.c_ulong, (_SUID_DUMP_DISABLE, 0, 0, 0)))


def _is_secret(name: str, value: str) -> bool:
    from mushu.keyformat import CREDENTIAL_PATTERN  # not needed by most commands, which start no program

    return (
        name.startswith(_OURS)
        or name == KEY_LOG_VARIABLE
        or _SECRET_NAME.search(name) is not None
        or CREDENTIAL_PATTERN.search(value) is not None
        or _PASSWORD_IN_ADDRESS.search(value) is not None
    )
