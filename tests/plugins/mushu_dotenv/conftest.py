"""What the tests of the plugin share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return a folder that every user can get into; pytest's own is closed to all but its owner."""
    folder = Path(tempfile.mkdtemp(prefix="mushu-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
