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
