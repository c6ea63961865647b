"""Text of others: nothing in it steers a terminal, turns a line round, or ends it."""

import json

from mushu.terminal import printable, printable_lines
from tests.cli.test_hostile import PAINT


def test_what_is_shown_is_printable_and_still_the_same_json() -> None:
    text = json.dumps(PAINT, ensure_ascii=False)
    assert printable(text).isprintable()
    assert json.loads(printable(text)) == PAINT
    assert printable("Grüße, 東京 🎉") == "Grüße, 東京 🎉"


def test_lines_of_ours_stay_lines() -> None:
    assert printable_lines("a:\n  - \x1b[2Jb\u2028c") == "a:\n  - \\u001b[2Jb\\u2028c"
