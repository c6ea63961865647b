"""Texts that drive a regular expression to its worst, made of the expression itself.

What can be repeated in it is repeated, after what must stand before and before what it cannot take; besides, every
character that it names, and what is hostile to any expression.
"""

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

# Python parses an expression here before it compiles it; the names of the nodes are stable since 3.11.
_parser: Final = importlib.import_module("re._parser")

Tokens = Sequence[tuple[Any, Any]]

_REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_OF_CATEGORY: Final = {"SPACE": " \n\t", "DIGIT": "0", "WORD": "a_0"}
_GENERAL: Final = ("a", "0", " ", "\n", "aA0", "a ", " \n", "a\n", "<!---->", "-->", "a.", "a@", "a/", "\\", '"', "%41")
#: What hardly any expression takes, and what `.` does not.
_ENDS: Final = ("\x00", "\n\x00")
#: How many alternatives are tried of each choice, and how many characters in pairs.
_CHOICES: Final = 12
_PAIRED: Final = 6


@dataclass(frozen=True)
class Hostile:
    """A text of any size: its head, its middle again and again, its end."""

    head: str
    middle: str
    end: str

    def text(self, size: int) -> str:
        return self.head + self.middle * max(size // len(self.middle), 1) + self.end


def hostile_to(pattern: re.Pattern[Any]) -> list[Hostile]:
    """Return texts that are hostile to this pattern."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = list(
        _parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    )
    letters = list(dict.fromkeys(_letters(tree)))
    wholes = list(dict.fromkeys(_sample(tree, letters, choice) for choice in range(_CHOICES)))
    ends = (*_ENDS, *(f"{text}\x00" for text in _aheads(tree, letters)), *_aheads(tree, letters))
    pairs = [first + second for first in letters[:_PAIRED] for second in letters[:_PAIRED] if first != second]
    found: dict[Hostile, None] = {}
    begun = [_sample(tree[:place], letters, 0) for place in range(1, len(tree))]
    for middle in dict.fromkeys((*_GENERAL, *letters, *pairs, *begun, *wholes)):
        found |= dict.fromkeys(Hostile("", middle, end) for end in ends if middle)
    for before, inner in _repeats(tree, (), letters):
        samples = dict.fromkeys(_sample(inner, letters, choice) for choice in range(_CHOICES))
        for middle in (*samples, *dict.fromkeys(_letters(inner))):
            found |= dict.fromkeys(Hostile(before, middle, end) for end in ends if middle)
    return list(found)


def _children(operator: str, value: Any) -> list[Tokens]:
    """Return the expressions within one node."""
    if operator in _REPEATS:
        return [value[2]]
    if operator == "SUBPATTERN":
        return [value[3]]
    if operator == "BRANCH":
        return list(value[1])
    if operator == "ATOMIC_GROUP":
        return [value]
    return [value[1]] if operator in ("ASSERT", "ASSERT_NOT") else []


def _letters(tokens: Tokens) -> Iterator[str]:
    """Yield characters that the expression names, or that stand for the sets which it names."""
    for operator, value in tokens:
        match str(operator):
            case "LITERAL" | "NOT_LITERAL":
                yield chr(value)
            case "RANGE":
                yield chr(value[0])
                yield chr(value[1])
            case "CATEGORY":
                yield from next(letters for name, letters in _OF_CATEGORY.items() if str(value).endswith(name))
            case "IN":
                yield from _letters(value)
            case "ANY":
                yield "a"
            case name:
                for child in _children(name, value):
                    yield from _letters(child)


def _sample(tokens: Tokens, letters: Sequence[str], choice: int) -> str:
    """Return a text that the expression matches, or nearly: of each branch, the alternative of this number."""
    text = ""
    for operator, value in tokens:
        match str(operator):
            case "LITERAL":
                text += chr(value)
            case "ANY" | "NOT_LITERAL":
                text += "a"
            case "IN":
                fitting = [letter for letter in (*letters, "a", "0", "-", " ") if _takes(value, letter)] or [""]
                text += fitting[choice % len(fitting)]
            case "BRANCH":
                text += _sample(value[1][choice % len(value[1])], letters, choice)
            case name if name in _REPEATS:
                text += _sample(value[2], letters, choice) * max(value[0], 1)
            case "ASSERT" | "ASSERT_NOT":
                pass  # they take no characters
            case name:
                text += "".join(_sample(child, letters, choice) for child in _children(name, value))
    return text


def _takes(members: Tokens, letter: str) -> bool:
    """Tell whether a set takes a letter."""
    taken = any(_is_of(str(operator), value, letter) for operator, value in members)
    return taken != (str(members[0][0]) == "NEGATE")


def _is_of(operator: str, value: Any, letter: str) -> bool:
    if operator == "LITERAL":
        return letter == chr(value)
    if operator == "RANGE":
        return bool(value[0] <= ord(letter) <= value[1])
    if operator != "CATEGORY":
        return False
    name = str(value).removeprefix("CATEGORY_")
    kind = {"SPACE": r"\s", "DIGIT": r"\d", "WORD": r"\w"}[name.removeprefix("NOT_")]
    return (re.fullmatch(kind, letter) is not None) != name.startswith("NOT_")


def _repeats(tokens: Tokens, before: Tokens, letters: Sequence[str]) -> Iterator[tuple[str, Tokens]]:
    """Yield a text that leads to each repetition, and what is repeated there."""
    for place, (operator, value) in enumerate(tokens):
        led = [*before, *tokens[:place]]
        if str(operator) in _REPEATS:
            yield _sample(led, letters, 0), value[2]
        for child in _children(str(operator), value):
            yield from _repeats(child, led, letters)


def _aheads(tokens: Tokens, letters: Sequence[str]) -> list[str]:
    """Return texts that what is looked for ahead, or behind, would match."""
    found: list[str] = []
    for operator, value in tokens:
        for child in _children(str(operator), value):
            if str(operator) in ("ASSERT", "ASSERT_NOT"):
                found.append(_sample(child, letters, 0))
            found += _aheads(child, letters)
    return list(dict.fromkeys(text for text in found if text))
