"""What this process leaves behind: nothing that could hold a key. Standard library only.

A key that is being delivered is in the memory of one process. The operating system can copy that memory out of it: as a
core dump when it crashes, and to any other process of the same user that asks. TLS libraries can, where an environment
variable asks for it, write down what decrypts a recorded conversation. `harden` ends all three, and is called before
anything is minted or read: by the commands of operators, by the server and its workers, and by the `mushu` command.
"""

import os
import sys
from contextlib import suppress
from typing import Final

#: Where TLS libraries, of this process and of its plugins, write the keys of their connections to.
KEY_LOG_VARIABLE: Final = "SSLKEYLOGFILE"

_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>
_SUID_DUMP_DISABLE: Final = 0
_OTHERS: Final = 0o077


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
