"""No regular expression of ours takes more than linear time, whatever a stranger sends."""

import re
from typing import Any

import pytest
from pydantic import BaseModel

from tests.patterns.collecting import METHODS, Use, sources, uncollected, uses
from tests.patterns.growth import worst_of

pytestmark = pytest.mark.unmeasured

USES = uses()

#: The expressions that were found here, and how they were asked.
FORMER = {
    "sniffing": (rb"(?is)\s*(?:<!--.*?-->\s*)*<(?:!doctype|\?xml|html|head|body)\b", "match"),
    "naming": (
        r"(?:text/(?:html|css)|.*[/+]xml|.*(?:java|ecma|live)script.*|application/wasm|multipart/.*)",
        "fullmatch",
    ),
    "settings": (r"(token|secret|passw|passphrase|credential|private|key$)(?!.*_(file|path)$)", "search"),
}
CLASSIC = {
    "a repetition in a repetition": (r"(a+)+$", "match"),
    "alternatives that overlap": (r"(?:\w|\d+)*!", "match"),
    "alternatives of which one begins with the other": (r"^(?:a|aa)+$", "match"),
    "digits in groups": (r"(\d+)*$", "fullmatch"),
    "two neighbours that overlap": (r"\s*\s*x", "match"),
    "three stars": (r".*,.*,.*z", "match"),
    "blanks at an end, looked for from everywhere": (r"\s+$", "search"),
    "a comment that does not end, looked for from everywhere": (r"(?s)<!--.*?-->", "search"),
    "an address": (r"([a-z0-9])(([.-]|_+)?([a-z0-9]+))*@x", "match"),
    "what python-dotenv does with comments": (r"\s+#.*", "sub"),
    "of bytes": (rb"(?:[a-z]+-?)*\.", "fullmatch"),
    "quadratic only behind a head": (r"key=(?:[^;]*;)?[^,]*;[^,]*!", "match"),
}  # fmt: skip
LINEAR = {
    "words": (r"[a-z]+(?:\.[a-z]+)*", "fullmatch"),
    "possessive": (r"(?:a++)++$", "match"),
    "bounded": (r"[a-z]{1,64}@[a-z]{1,64}", "search"),
    "a comment looked for from its beginning only": (r"(?s)<!--.*?-->", "match"),
}


def use_of(case: tuple[Any, str]) -> Use:
    return Use("here", re.compile(case[0]), case[1])


@pytest.mark.fault
def test_no_pattern_takes_more_than_linear_time() -> None:
    assert {str(use): worst for use in USES if (worst := worst_of(use)) is not None} == {}


@pytest.mark.parametrize("case", [*FORMER.values(), *CLASSIC.values()], ids=[*FORMER, *CLASSIC])
def test_the_test_sees_what_does(case: tuple[Any, str]) -> None:
    assert worst_of(use_of(case)) is not None


@pytest.mark.parametrize("case", LINEAR.values(), ids=LINEAR)
def test_the_test_lets_pass_what_does_not(case: tuple[Any, str]) -> None:
    assert worst_of(use_of(case)) is None


@pytest.mark.fault
def test_every_pattern_has_a_name_in_its_module() -> None:
    """What is compiled on its way, in a function, the test above would not see."""
    found = {name: faults for name, path in sources() if (faults := uncollected(path.read_text("utf-8")))}
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.match('a', x)",
        "import re\ndef f(x):\n    return re.compile(x)",
        "import re\nf = lambda x: re.compile(x)",
        "import re as r",
        "from re import compile",
        "import regex",
    ],
)
def test_a_pattern_without_a_name_is_seen(source: str) -> None:
    assert len(uncollected(source)) == 1


def test_a_new_pattern_is_collected_by_itself() -> None:
    """The list is made of the code: from each folder, at least one is in it, and every way of asking is known."""
    assert len(USES) > 50
    found = {str(use).partition(".")[0] for use in USES}
    assert {"mushu", "mushu_dotenv", "mushu_vault", "script"} <= found
    assert {use.method for use in USES} <= METHODS


def test_patterns_in_models_are_matched_by_an_engine_that_does_not_backtrack() -> None:
    """`Field(pattern=…)`: Pydantic's own engine takes linear time for every expression; Python's can be asked for."""

    def models(kind: type[BaseModel]) -> list[type[BaseModel]]:
        return [kind, *(one for child in kind.__subclasses__() for one in models(child))]

    for model in models(BaseModel):
        if model.__module__.startswith("mushu"):
            assert model.model_config.get("regex_engine", "rust-regex") == "rust-regex", model
