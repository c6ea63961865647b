"""The documents are written in short sentences and plain words."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
#: A decision stays as it was written.
PAGES: Final = sorted(
    page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if page.parent.name != "decisions"
)
_LONGEST: Final = 25
_CODE_BLOCK: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INDENTED: Final = re.compile(r"^    .*$", re.MULTILINE)
_CODE: Final = re.compile(r"`[^`]*`")
_LINK: Final = re.compile(r"\[([^]]*)\]\([^)]*\)")
_PARAGRAPH: Final = re.compile(r"\n\s*\n|\n(?=[-*|#>] |\d+\. |\|)")
_END: Final = re.compile(r"(?<=[.!?:;])\*{0,2}\s+")
#: Words that a dictionary marks as old, formal or poetic.
_OLD: Final = re.compile(
    r"\b(whom|whoever|for ever(?!y)|lies|lay|lain|thereof|whereby|wherein|therein|henceforth|hence|thus|amid|lest|shall"
    r"|ought|likewise|came of it|unto|whilst|albeit|alas|nay|behold)\b",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[str]:
    """Yield what stands between full stops, colons and semicolons, a piece of code counted as one word."""
    text = _INDENTED.sub("", _CODE_BLOCK.sub("", text))
    for paragraph in _PARAGRAPH.split(text):
        plain = _CODE.sub("CODE", _LINK.sub(r"\1", paragraph))
        for part in plain.split("|") if plain.lstrip().startswith("|") else [plain]:
            yield from _END.split(" ".join(part.split()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_easy_to_read(page: Path) -> None:
    found = list(sentences(page.read_text()))
    assert [sentence for sentence in found if len(sentence.split()) > _LONGEST] == []
    assert [sentence for sentence in found if _OLD.search(sentence)] == []


def test_what_is_hard_to_read_is_found() -> None:
    text = "- One. **Two.** " + "word " * 26 + "end.\n- `a b c` lies\n  here.\n\n    whom\n\n| whoever | x |\n"
    found = list(sentences(text))
    assert [len(sentence.split()) for sentence in found if len(sentence.split()) > _LONGEST] == [27]
    assert [sentence for sentence in found if _OLD.search(sentence)] == ["- CODE lies here.", " whoever ".strip()]
