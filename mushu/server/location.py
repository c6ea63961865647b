"""Where this Mushu is, and where its instance folder is: never where the current folder says."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mushu.server.errors import ConfigurationError
from mushu.server.ownership import fault_of_owner, fault_on_the_way

ROOT: Final = Path(__file__).resolve().parents[2]


def instance_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the instance folder: MUSHU_INSTANCE_PATH, or `instance/` of the checkout, or that of this account.

    Never one of the current folder, whoever that belongs to.

    Raises:
        ConfigurationError: it would be another folder wherever a command runs.
    """
    if given := environ.get("MUSHU_INSTANCE_PATH"):
        return _absolute("MUSHU_INSTANCE_PATH", Path(given))
    if (ROOT / "wsgi.py").is_file():
        return ROOT / "instance"
    from platformdirs import user_data_path  # a checkout does without

    return _absolute("XDG_DATA_HOME", user_data_path("mushu", appauthor=False)) / "instance"


def _absolute(variable: str, path: Path) -> Path:
    if not path.is_absolute():
        raise ConfigurationError(f"{variable} must be an absolute path, not {str(path)!r}")
    return path


def refuse_foreign(instance: Path) -> None:
    """Refuse a folder that others could change; that of a checkout, which has the code beside it, by its owner."""
    fault = (fault_of_owner if instance.parent == ROOT else fault_on_the_way)(instance)
    if fault is not None:
        raise ConfigurationError(fault)


def faults_elsewhere(named: Mapping[str, str]) -> list[str]:
    """Return why others could change what settings name outside of the instance folder, a sentence each.

    Args:
        named: a path, the URL of a database, or nothing, by the name of the setting.
    """
    paths = {name: Path(_file_of(given)) for name, given in named.items()}
    faults = (
        fault_on_the_way(path, f"what MUSHU_{name.upper()} names")
        for name, path in paths.items()
        if path.is_absolute()  # other files are refused anyway
    )
    return [fault for fault in faults if fault is not None]


def _file_of(given: str) -> str:
    """Return the path in the URL of an SQLite database; anything else as it is."""
    return given.partition(":///")[2].partition("?")[0] if given.startswith("sqlite") else given
