"""Files that say the same a thousand times: read in time that grows with their size, and told of in a short message."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mushu.destination import DestinationError
from mushu_dotenv.document import Document
from mushu_dotenv.parsing import _ENDLESS_BLANKS, parsed
from tests.patterns.growth import is_superlinear
from tests.plugins.mushu_dotenv.places import VARIABLE, destination, private


def _repeated(times: int) -> Document:
    document = Document(f"{VARIABLE}=\n".encode() * times)
    assert document.fault is None
    return document


@pytest.mark.fault
def test_the_lines_of_a_variable_that_is_set_a_thousand_times_are_counted_once() -> None:
    def counting(size: int) -> Callable[[], list[int]]:
        document = _repeated(size // 8)
        return lambda: document.lines(VARIABLE)

    assert counting(16)() == [1, 2]
    assert not is_superlinear(counting)


@pytest.mark.fault
def test_blanks_in_runs_that_are_not_too_long_are_read_once() -> None:
    """A run is looked for where it begins; from each blank anew, each would be read hundreds of times."""
    text = (" " * 1_000 + "x") * 50

    def cost(pattern: re.Pattern[str]) -> float:
        begin = time.thread_time()
        assert pattern.search(text) is None
        return time.thread_time() - begin

    naive = re.compile(r"[^\S\r\n]{1024}")
    assert min(cost(_ENDLESS_BLANKS) for _ in range(3)) * 20 < min(cost(naive) for _ in range(3))
    assert parsed(b"A=1" + b" " * 1_024 + b"#\n").fault is not None
    assert parsed(b"A=1" + b" " * 1_023 + b"#\n").fault is None


@pytest.mark.fault
def test_the_message_about_a_variable_that_is_set_a_thousand_times_fits_on_a_screen(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", f"{VARIABLE}=\n".encode() * 1_000)
    with pytest.raises(DestinationError, match=r"on lines 1, 2, 3, 4, 5 and 995 more\. Keep one") as caught:
        destination(file).preflight()
    assert len(str(caught.value)) < len(str(file)) + 200
