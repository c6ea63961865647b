"""What a folder holds, one level deep."""

from collections.abc import Iterable

from tests.vault.answers import Reply


def children(paths: Iterable[str], folder: str) -> list[str]:
    """Return the names under a folder, sorted; those that are folders themselves end in a slash."""
    prefix = folder if not folder or folder.endswith("/") else f"{folder}/"
    rests = (path[len(prefix) :] for path in paths if path.startswith(prefix) and path != prefix)
    return sorted({rest if "/" not in rest else rest.partition("/")[0] + "/" for rest in rests})


def listing(names: list[str]) -> Reply:
    return Reply({"keys": names} if names else {})
