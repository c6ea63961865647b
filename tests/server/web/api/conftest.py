"""What several tests of the API use."""

from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that a key can be delivered to."""
    return tmp_path / ".env"
