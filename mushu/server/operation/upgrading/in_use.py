"""Which process has a SQLite database open. Run as a file with the database's path, it prints the id of one.

SQLite holds a lock that is shared on a range of the file as long as a connection in WAL mode is open. Asking who holds
it takes a descriptor, and closing that would drop the locks of this process: so a process of its own asks.
"""

import fcntl
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

#: SHARED_FIRST and SHARED_SIZE of SQLite's os.h, which are part of its file format.
_FIRST: Final = 0x40000002
_SIZE: Final = 510
#: Seconds that a command which runs just now, or a server that is ending, has to close it.
PATIENCE: Final = 10.0
_PAUSE: Final = 0.2


def process_using(database: Path) -> int | None:
    """Return the id of another process that has the database open and keeps it open; None where there is none."""
    end = time.monotonic() + PATIENCE
    while (found := _ask(database)) is not None and time.monotonic() < end:
        time.sleep(_PAUSE)
    return found


def _ask(database: Path) -> int | None:
    asked = subprocess.run(  # noqa: S603 - this file, with a path of ours
        [sys.executable, "-I", "-S", __file__, str(database)], capture_output=True, text=True, check=False, env={}
    )
    answer = asked.stdout.strip()
    return int(answer) if answer.isdigit() and int(answer) != os.getpid() else None


def _holder(path: str) -> int | None:
    """Return who holds the lock, by F_GETLK: `struct flock` has another order on macOS."""
    mac = sys.platform == "darwin"
    form, who, kind = ("qqihh", 2, 3) if mac else ("hhqqi4x", 4, 0)
    asked = (_FIRST, _SIZE, 0, fcntl.F_WRLCK, 0) if mac else (fcntl.F_WRLCK, 0, _FIRST, _SIZE, 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        answer = struct.unpack(form, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(form, *asked)))
    finally:
        os.close(descriptor)
    return None if answer[kind] == fcntl.F_UNLCK else int(answer[who])


if __name__ == "__main__":
    print(_holder(sys.argv[1]) or "")  # noqa: T201
