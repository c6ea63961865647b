"""What is logged, for tests that look what is in it."""

import io
import logging
from collections.abc import Iterator

import pytest

from mushu.server import logs


def caught(monkeypatch: pytest.MonkeyPatch, level: str) -> Iterator[io.StringIO]:
    """Yield what is logged at this level, as the server writes it; then let the loggers be as they were."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(level)
    yield stream
    root.handlers, root.level = before
