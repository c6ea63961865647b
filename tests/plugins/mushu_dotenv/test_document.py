"""For any document that python-dotenv understands, a change changes one binding, and no byte of anything else."""

import io
import re
from dataclasses import dataclass

import pytest
from dotenv.parser import parse_stream
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mushu_dotenv.document import Document, FormerLine, unsealed
from mushu_dotenv.parsing import cut, lead_of
from tests.long import times
from tests.plugins.mushu_dotenv.places import KEY, VARIABLE

pytestmark = pytest.mark.unmeasured

_NEW = KEY.reveal()
_BLANKS = st.text(st.sampled_from(" \t\f\v\u2028\u0085\u00a0"), max_size=2)
_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
_NAMES = st.sampled_from([VARIABLE, f"{VARIABLE}_OLD", VARIABLE.lower(), "A", "B", "a.b", "x-y", "É", f"'{VARIABLE}'"])
_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_VALUES = st.one_of(
    st.none(),
    st.just(""),
    _WORDS.map(lambda text: text.replace("\n", "").replace("\r", "")),
    _WORDS.map(lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    _WORDS.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.sampled_from([f"x {VARIABLE}=y", f"'\n{VARIABLE}=y\n'", "${A}", "#x", "x#y", "a b # c", "'' #", '""']),
)
_COMMENTS = st.one_of(st.just(""), _WORDS.map(lambda text: " #" + text.replace("\n", "").replace("\r", "")))


#: Documents are slow to draw.
_EXAMPLES = settings(max_examples=times(40, 100))


@st.composite
def _lines(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 4)) == 0:
        return draw(_BLANKS) + draw(st.sampled_from(["", f"# {VARIABLE}=x", "#"])) + draw(_ENDS)
    value = draw(_VALUES)
    binding = "" if value is None else draw(_BLANKS) + "=" + draw(_BLANKS) + value
    export = draw(st.sampled_from(["", "", "export "]))
    return draw(_BLANKS) + export + draw(_NAMES) + binding + draw(_BLANKS) + draw(_COMMENTS) + draw(_ENDS)


@st.composite
def _documents(draw: st.DrawFn) -> bytes:
    """Mostly well-formed text, with or without a byte order mark and a final newline."""
    text = draw(st.sampled_from(["", "", "\ufeff"])) + "".join(draw(st.lists(_lines(), max_size=5)))
    return (text.rstrip("\r\n") if draw(st.booleans()) else text).encode()


def _understood(data: bytes) -> Document:
    document = Document(data)
    assume(document.fault is None)
    assume(len(document.lines(VARIABLE)) < 2)
    return document


def _placed(data: bytes) -> Document:
    document = _understood(data)
    assume(document.reader_problem(VARIABLE) is None)
    return document


@dataclass(frozen=True)
class _Around:
    """A document in three: what stands above our line, the line without its end, and the rest."""

    above: str
    line: str
    below: str


def _around(data: bytes) -> _Around | None:
    """Cut the document at the line of ours, told by python-dotenv's own parser; None where there is none."""
    text = data.decode()
    stretches = [(found.key, found.original.string) for found in parse_stream(io.StringIO(text))]
    offset = len(text) - sum(len(stretch) for _, stretch in stretches)  # a byte order mark is in none of them
    for key, stretch in stretches:
        if key == VARIABLE:
            space = stretch[: len(stretch) - len(stretch.lstrip())]
            start = offset + max(space.rfind("\n"), space.rfind("\r")) + 1
            stop = offset + len(stretch.rstrip("\r\n"))
            return _Around(text[:start], text[start:stop], text[stop:])
        offset += len(stretch)
    return None


def _joins(above: str) -> bool:
    return re.search(r"\\(\r\n|\r|\n)\Z", above) is not None


def _is_ours(line: str) -> bool:
    return line in (f"{VARIABLE}={_NEW}", f"export {VARIABLE}={_NEW}")


def _assert_only_the_line_changed(changed: bytes, around: _Around) -> None:
    """Above and below, every byte stays; in between are our line, the comment that was behind it, and no more."""
    text = changed.decode()
    assert text.startswith(around.above)
    assert text.endswith(around.below)
    between = text[len(around.above) : len(text) - len(around.below)]
    *others, line = re.split(r"\r\n|\r|\n", between)
    assert _is_ours(line)
    assert line.startswith("export ") or not around.line.lstrip().startswith("export ")
    if "#" not in around.line and not _joins(around.above):
        assert others == []
    if _joins(around.above):
        assert others.pop(0) == ""
    if others and _joins(others[0] + "\n"):
        assert others.pop() == ""
    assert len(others) <= 1
    for comment in others:
        assert comment.startswith("#")
        assert around.line.rstrip().endswith(comment)


def _assert_only_a_line_was_added(data: bytes, changed: bytes) -> None:
    """At the end, behind no more than the newline that was missing or a blank line; or else at the top."""
    if not changed.startswith(data):
        line, newline, rest = re.split(rb"(\r\n|\r|\n)", changed, maxsplit=1)
        assert _is_ours(line.decode())
        assert newline
        assert rest == data
        return
    parted = re.fullmatch(r"(\r\n|\r|\n)?([^\r\n]+)(\r\n|\r|\n)", changed[len(data) :].decode())
    assert parted is not None
    assert _is_ours(parted[2])
    text = data.decode()
    if text.endswith("\n") or text in ("", "\ufeff"):
        assert (parted[1] is not None) == _joins(text)


@_EXAMPLES
@given(_documents())
@example(b"\xef\xbb\xbf")
@example(b"MUSHU_API_KEY#x")
@example(b"A=1\n \n MUSHU_API_KEY =\t'' #x\r")
@example(b"A=C:\\\nMUSHU_API_KEY=old\nB=1\n")
@example(b"A=1\nMUSHU_API_KEY=old # ends in \\\nB=1\n")
@example(b"A=C:\\\n")
@example(b"export A=1\nMUSHU_API_KEY=''\n")
@example(b"\xef\xbb\xbfA=1\nMUSHU_API_KEY= old\nB='x\ny'")
def test_setting_a_value_changes_that_value_only(data: bytes) -> None:
    document = _placed(data)
    changed, _ = document.with_value(VARIABLE, KEY)
    assert changed.fault is None
    assert changed.holding(VARIABLE).digest == KEY.digest()
    assert changed.differs_only_in(VARIABLE, document)
    assert changed.reader_problem(VARIABLE) is None, "what was placed stays placed"
    around = _around(data)
    if around is None:
        _assert_only_a_line_was_added(data, changed.data)
    else:
        _assert_only_the_line_changed(changed.data, around)


@_EXAMPLES
@given(_documents())
@example(b"A=1\n   ")
@example(b"A=1\r\nB=2")
@example(b"# c\r\n")
@example(b"# c\r")
def test_undoing_gives_the_very_bytes_back(data: bytes) -> None:
    changed, undo = _placed(data).with_value(VARIABLE, KEY)
    memory = unsealed(FormerLine(undo, made_file=False).sealed())
    undone = changed.undone(VARIABLE, memory.undo)
    assert undone is not None
    assert undone.data == data


@_EXAMPLES
@given(_documents(), _documents())
def test_undoing_keeps_what_was_added_since(data: bytes, more: bytes) -> None:
    document = _placed(data)
    changed, undo = document.with_value(VARIABLE, KEY)
    assume(changed.data.endswith((b"\n", b"\r")) and VARIABLE.encode() not in more)
    added = more.replace(b"\xef\xbb\xbf", b"")
    later = Document(changed.data + added)
    assume(later.fault is None)
    undone = later.undone(VARIABLE, undo)
    assert undone is not None
    assert undone.fault is None
    assert undone.holding(VARIABLE).digest == document.holding(VARIABLE).digest
    assert undone.differs_only_in(VARIABLE, later)


@_EXAMPLES
@given(_documents())
def test_removing_deletes_one_line_only(data: bytes) -> None:
    document = _understood(data)
    assume(document.lines(VARIABLE))
    shorter = document.without(VARIABLE)
    assert shorter.fault is None
    assert shorter.lines(VARIABLE) == []
    assert shorter.differs_only_in(VARIABLE, document)
    # Cut out in one piece.
    assert any(shorter.data == data[:at] + data[at + len(data) - len(shorter.data) :] for at in range(len(data)))


@_EXAMPLES
@given(_documents())
def test_lines_are_counted_as_editors_count_them(data: bytes) -> None:
    document = _understood(data)
    for number in document.lines(VARIABLE):
        lines = data.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert VARIABLE in lines[number - 1]


@_EXAMPLES
@given(_documents())
def test_a_statement_is_the_sum_of_its_pieces(data: bytes) -> None:
    for binding in parse_stream(io.StringIO(data.decode())):
        text = binding.original.string
        assert text.startswith(lead_of(text))
        pieces = cut(text)
        if pieces is not None:
            assert pieces.before + pieces.written + pieces.after == text
        else:
            assert binding.key is None


@given(st.binary(max_size=60))
def test_any_bytes_are_understood_or_have_a_fault_that_shows_none_of_them(data: bytes) -> None:
    document = Document(b"s3cret=hush\n" + data)
    assert document.fault is None or not {"s3cret", "hush"} & set(document.fault.split())
    assert "hush" not in repr(document)
