"""Text that others wrote, on a terminal or in a line of a log: nothing in it may steer what shows it.

Names, errors of plugins and sentences of servers can hold escape sequences that paint or type, marks that turn the
direction of what follows, and characters that end a line for one program and not for another.
"""

import json
import unicodedata
from typing import Final

_BELOW_SURROGATES: Final = 0xFFFF
#: Between letters of Persian and Indian words, and between the persons of a family in one emoji.
_JOINERS: Final = "\u200c\u200d"
_NO_BREAK_SPACE: Final = "\N{NO-BREAK SPACE}"
#: Controls, marks of direction and other formats, halves of a character, separators of lines.
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")


def is_readable(text: str) -> bool:
    """Tell whether a name can be taken as it is: the one rule for names of all kinds, which holds for any language."""
    return all(letter in _JOINERS or unicodedata.category(letter) not in _INVISIBLE for letter in text)


def printable(text: str) -> str:
    """Return `text` with every character that is not printable written as an escape of JSON."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in _JOINERS or letter == _NO_BREAK_SPACE else escaped(letter)
        for letter in text
    )


def printable_lines(text: str) -> str:
    """Return `text` as `printable` does, but for the ends of its lines: a sentence of ours may have several."""
    return "\n".join(printable(line) for line in text.split("\n"))


def escaped(letter: str) -> str:
    """Return one character as JSON writes it in ASCII."""
    code = ord(letter)
    if code > _BELOW_SURROGATES:
        return json.dumps(letter)[1:-1]
    return f"\\u{code:04x}"
