"""`.mushu.json`: the organization of a project, found here or in a folder above.

It comes with a repository, and so perhaps from an enemy: it can name an organization and nothing else. A `url` in it is
ignored, or a token could be lured to another server.
"""

import json
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

from mushu.cli.answers import IDENTIFIER
from mushu.cli.output import note
from mushu.ownership import UNLED, is_foreign

FILE: Final = ".mushu.json"
_LARGEST: Final = 65_536


class ProjectOrg(NamedTuple):
    """An organization, and the file that names it."""

    org_id: str
    path: Path


def find_project_org(start: Path) -> ProjectOrg | None:
    """Return what the nearest `.mushu.json` from `start` up names; an unusable one counts as none, with a note."""
    for home in (start, *start.parents):
        path = home / FILE
        try:
            descriptor = os.open(path, os.O_RDONLY | UNLED)
        except FileNotFoundError:
            continue
        except OSError as error:
            note(f"{path} is ignored: it cannot be read ({error.strerror}).")
            return None
        try:
            data = None if _is_unfit(os.fstat(descriptor)) else os.read(descriptor, _LARGEST)
        finally:
            os.close(descriptor)
        if data is None:
            note(f"{path} is ignored: it belongs to another user, or is no file.")
            return None
        return _checked(path, data)
    return None


def _is_unfit(status: os.stat_result) -> bool:
    return not stat.S_ISREG(status.st_mode) or is_foreign(status)


def _checked(path: Path, data: bytes) -> ProjectOrg | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    org_id = document.get("org_id") if isinstance(document, dict) else None
    if not isinstance(org_id, str) or IDENTIFIER.fullmatch(org_id) is None:
        note(f'{path} is ignored: it must look like {{"org_id": "org_…"}}.')
        return None
    if isinstance(document, dict) and "url" in document:
        note(f"The url in {path} is ignored: a repository does not choose where your token goes.")
    return ProjectOrg(org_id, path)
