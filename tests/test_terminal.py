"""Text of others: nothing in it steers a terminal, turns a line round, or ends it."""

import json

import pytest

from mushu.terminal import is_readable, printable, printable_lines
from tests.cli.test_hostile import PAINT


def test_what_is_shown_is_printable_and_still_the_same_json() -> None:
    text = json.dumps(PAINT, ensure_ascii=False)
    assert printable(text).isprintable()
    assert json.loads(printable(text)) == PAINT
    assert printable("Grüße, 東京 🎉") == "Grüße, 東京 🎉"


def test_lines_of_ours_stay_lines() -> None:
    assert printable_lines("a:\n  - \x1b[2Jb\u2028c") == "a:\n  - \\u001b[2Jb\\u2028c"


@pytest.mark.fault
def test_a_name_in_any_language_is_taken_and_shown_as_it_is_and_one_that_hides_something_is_not() -> None:
    for name in ("👨\u200d👩\u200d👧", "می\u200cخواهم", "100\u00a0000", "Zoë", "東京"):
        assert is_readable(name)
        assert printable(name) == name
    for name in ("a\u202eb", "a\u2066b", "a\x1b[2J", "a\nb", "a\u2028b", "a\u200bb", "\ud800", "a\x85b"):
        assert not is_readable(name)
