"""Whether somebody else could have put the file where it is: then the key would be theirs.

A file is ours, or its owner is the one who alone, besides root, can write to every folder on the way that is not
root's. The sticky bit keeps others from swapping a folder, but says nothing about a file: whoever came first owns it.
Access control lists count as well, because the system shows what they grant in the bits of the group.
"""

import os
import stat

from mushu.destination import DestinationError, others_may_write, user_name
from mushu_dotenv.errors import quoted, refusal
from mushu_dotenv.folder import Folder
from mushu_dotenv.walk import PathStep


def refuse_planted(path: str, folder: Folder, status: os.stat_result | None) -> None:
    """Raise if others than us, root and the owner of the file decide what stands at `path`.

    Args:
        status: of the file, as it was opened; None where it is to be made, and will be ours.
    """
    ours = {0, os.geteuid()}
    here = folder.status()
    owner = os.geteuid() if status is None else status.st_uid
    # A file of ours stays ours, whoever else may write to its folder; then the folder's owner has a say, too.
    trusted = ours | {here.st_uid if owner in ours else owner}
    for step in folder.steps:
        _refuse_foreign(path, step, trusted)
        _refuse_shared(path, step, trusted, alone=owner not in ours)
    if owner not in ours and (here.st_uid not in trusted or others_may_write(here)):
        raise _planted(path, owner, folder.path)


def refuse_led_astray(path: str, folder: Folder, status: os.stat_result | None) -> None:
    """Raise if a link of a stranger led to the folder: nothing is made there, not even a lock file.

    Args:
        status: of the file; None where there is none.
    """
    owners = {folder.status().st_uid} if status is None else {folder.status().st_uid, status.st_uid}
    for step in folder.steps:
        if stat.S_ISLNK(step.found.st_mode) and step.found.st_uid not in {0, os.geteuid()} | owners:
            raise _elsewhere(path, step.path, step.found.st_uid)


def _refuse_foreign(path: str, step: PathStep, trusted: set[int]) -> None:
    """Raise if the folder, or the link in it, belongs to somebody who could lead the path elsewhere."""
    linked = stat.S_ISLNK(step.found.st_mode) and step.found.st_uid not in trusted
    if step.folder.st_uid in trusted and not linked:
        return
    stranger = step.found.st_uid if linked else step.folder.st_uid
    raise _elsewhere(path, step.path, stranger)


def _elsewhere(path: str, passed: str, stranger: int) -> DestinationError:
    return refusal(
        path,
        f"is reached through {quoted(passed)}, which {user_name(stranger)} can make lead elsewhere. "
        "Choose a path that only you, root or the owner of the file can change",
    )


def _refuse_shared(path: str, step: PathStep, trusted: set[int], *, alone: bool) -> None:
    """Raise if others can swap the folder or link that is found; with the sticky bit, only its owner can."""
    if stat.S_ISREG(step.found.st_mode):
        return
    shared = others_may_write(step.folder) if alone else step.folder.st_mode & stat.S_IWOTH
    if shared and not (step.folder.st_mode & stat.S_ISVTX and step.found.st_uid in trusted):
        raise _planted(path, step.found.st_uid, os.path.dirname(step.path))  # noqa: PTH120 - a text


def _planted(path: str, owner: int, folder: str) -> DestinationError:
    whose = "could be exchanged" if owner in (0, os.geteuid()) else f"could have been put there by {user_name(owner)}"
    return refusal(
        path,
        f"{whose}, because others than its owner can write to {quoted(folder)}. "
        f"Close the folder with `chmod go-w {quoted(folder)}`, or choose another path",
    )
