"""Whether git tracks a file: then a key in it would be in the next commit, and in every clone for good."""

import os
import shutil
import subprocess
from typing import Final

from mushu.destination import child_environment
from mushu_dotenv.errors import quoted, refusal

_TIMEOUT: Final = 10.0
# The repository may be another user's: nothing in its configuration may make git run a program or open a connection.
_HARDENED: Final = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "safe.directory=*"),
    "--literal-pathspecs",
)
_ENVIRONMENT: Final = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


def refuse_tracked(folder: str, name: str) -> None:
    """Raise if the file `name` in `folder`, which exists or not, is tracked, or if that cannot be found out."""
    folder = os.path.realpath(folder)
    path = os.path.join(folder, name)  # noqa: PTH118 - pathlib cannot hold every name
    if not _in_work_tree(folder):
        return
    answer = _ask_git(folder, name)
    if answer == 0:
        raise refusal(
            path, f"is tracked by git. Take it out with `git rm --cached {quoted(path)}`, and name it in .gitignore"
        )
    if answer != 1:
        raise refusal(
            path,
            "stands in a git work tree, and git could not say whether it is tracked. "
            "See what `git ls-files` says in that folder",
        )


def _in_work_tree(folder: str) -> bool:
    while True:
        if os.path.lexists(os.path.join(folder, ".git")):  # noqa: PTH118
            return True
        if folder == "/":
            return False
        folder = os.path.dirname(folder)  # noqa: PTH120


def _ask_git(folder: str, name: str) -> int | None:
    """Return git's exit code (0 tracked, 1 not), or None if it is not installed or does not answer."""
    environment = {key: value for key, value in child_environment().items() if not key.startswith("GIT_")}
    # Looked for in that PATH: where the other one names the current folder, a program in there would be git.
    git = shutil.which("git", path=environment.get("PATH", os.defpath))
    if git is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - no shell, and every argument is ours but the name, after `--`
            [git, *_HARDENED, "-C", folder, "ls-files", "--error-unmatch", "--", name],
            env=environment | _ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
