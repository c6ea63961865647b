"""Odd and hostile contents: exactly one line changes, or nothing does and the refusal says why and the way out."""

import itertools
from pathlib import Path

import pytest
from dotenv import dotenv_values

from mushu.destination import DestinationError, Secret
from tests.long import times
from tests.plugins.mushu_dotenv.places import KEY, VARIABLE, Trace, deliver, destination, leftovers, private

NEW = KEY.reveal().encode()
LINE = b"MUSHU_API_KEY=" + NEW

#: Five megabytes in the long form.
_LINES = b"A=1\n" + b"P=%s\n" % (b"x" * 500) * times(500, 10_000)
_LONG_LINE = b"A=" + b"x" * times(300_000, 3_000_000)

#: What stands there, and what must stand there afterwards.
CHANGED: dict[str, tuple[bytes, bytes]] = {
    "empty file": (b"", LINE + b"\n"),
    "only a newline": (b"\n", b"\n" + LINE + b"\n"),
    "only comments": (b"# a\n#b", b"# a\n#b\n" + LINE + b"\n"),
    "appended after a byte order mark": (b"\xef\xbb\xbfA=1\n", b"\xef\xbb\xbfA=1\n" + LINE + b"\n"),
    "appended": (b"A=1\n", b"A=1\n" + LINE + b"\n"),
    "appended without a final newline": (b"A=1", b"A=1\n" + LINE + b"\n"),
    "at the top, because blanks are at the end": (b"A=1\n  \t", LINE + b"\nA=1\n  \t"),
    "apart from a backslash": (b"A=C:\\data\\\n", b"A=C:\\data\\\n\n" + LINE + b"\n"),
    "apart from a backslash in a comment": (b"A=1\n# c \\\n", b"A=1\n# c \\\n\n" + LINE + b"\n"),
    "at the top, because a backslash is the last byte": (b"A=C:\\data\\", LINE + b"\nA=C:\\data\\"),
    "filled apart from a backslash": (b"# c \\\nMUSHU_API_KEY=\n", b"# c \\\n\n" + LINE + b"\n"),
    "a comment that ends in a backslash": (b"MUSHU_API_KEY= # c \\\n", b"# c \\\n\n" + LINE + b"\n"),
    "a file of a shell": (b"export A=1\n", b"export A=1\nexport " + LINE + b"\n"),
    "a placeholder in a file of a shell": (b"export A=1\nMUSHU_API_KEY=\n", b"export A=1\nexport " + LINE + b"\n"),
    "some lines of a shell": (b"export A=1\nB=2\nexport MUSHU_API_KEY=\n", b"export A=1\nB=2\nexport " + LINE + b"\n"),
    "a quote that nothing closes": (b"A=it's\nMUSHU_API_KEY=\n", b"A=it's\n" + LINE + b"\n"),
    "appended to CRLF": (b"A=1\r\nB=2\r\n", b"A=1\r\nB=2\r\n" + LINE + b"\r\n"),
    "appended to CRLF without a final newline": (b"A=1\r\nB=2", b"A=1\r\nB=2\r\n" + LINE + b"\r\n"),
    "appended to lone CR": (b"A=1\rB=2\r", b"A=1\rB=2\r" + LINE + b"\r"),
    "appended to lone CR without a final newline": (b"A=1\rB=2", b"A=1\rB=2\r" + LINE + b"\r"),
    "at the top, because a bare name is at the end": (b"A", LINE + b"\nA"),
    "appended after a comment with a quote": (b"# it's", b"# it's\n" + LINE + b"\n"),
    "appended after a value in quotes": (b"A='1'", b"A='1'\n" + LINE + b"\n"),
    "replaced": (b"A=1\nMUSHU_API_KEY=old\nB=2\n", b"A=1\n" + LINE + b"\nB=2\n"),
    "replaced at the end without a newline": (b"A=1\nMUSHU_API_KEY=old", b"A=1\n" + LINE),
    "replaced with CRLF": (b"MUSHU_API_KEY=old\r\nB=2\r\n", LINE + b"\r\nB=2\r\n"),
    "replaced with lone CR": (b"A=1\rMUSHU_API_KEY=old\rB=2\r", b"A=1\r" + LINE + b"\rB=2\r"),
    "replaced in mixed line ends": (b"A=1\r\nMUSHU_API_KEY=old\nB=2\r", b"A=1\r\n" + LINE + b"\nB=2\r"),
    "byte order mark and later lines": (
        b"\xef\xbb\xbfA=1\r\nMUSHU_API_KEY=x\r\n",
        b"\xef\xbb\xbfA=1\r\n" + LINE + b"\r\n",
    ),
    "single quotes": (b"MUSHU_API_KEY='old'\n", LINE + b"\n"),
    "double quotes": (b'MUSHU_API_KEY="old"\n', LINE + b"\n"),
    "escaped quotes": (b'MUSHU_API_KEY="o\\"l\\\\d"\n', LINE + b"\n"),
    "escaped single quotes": (b"MUSHU_API_KEY='o\\'ld' #c\n", b"#c\n" + LINE + b"\n"),
    "multi-line value": (b"A=1\nMUSHU_API_KEY='o\nl\nd' # c\nB=2\n", b"A=1\n# c\n" + LINE + b"\nB=2\n"),
    "comment after the value": (b"MUSHU_API_KEY=old # keep = 'this'\n", b"# keep = 'this'\n" + LINE + b"\n"),
    "comment after quotes": (b'MUSHU_API_KEY="old"#keep\n', b"#keep\n" + LINE + b"\n"),
    "# in the value": (b"MUSHU_API_KEY=o#ld\n", LINE + b"\n"),
    "# in quotes": (b"MUSHU_API_KEY='o # ld' # c\n", b"# c\n" + LINE + b"\n"),
    "value that begins with #": (b"MUSHU_API_KEY=#old\n", LINE + b"\n"),
    "blanks after the value": (b"MUSHU_API_KEY=old  \t\n", LINE + b"\n"),
    "words without quotes": (b"MUSHU_API_KEY=old and grey\n", LINE + b"\n"),
    "export": (b"export MUSHU_API_KEY=old\n", b"export " + LINE + b"\n"),
    "export and wide blanks": (b"\texport \t MUSHU_API_KEY=old\n", b"export " + LINE + b"\n"),
    "blanks around =": (b"MUSHU_API_KEY \t=  old\n", LINE + b"\n"),
    "indented after blank lines": (b"\n\n   MUSHU_API_KEY=old\n", b"\n\n" + LINE + b"\n"),
    "quoted name": (b"'MUSHU_API_KEY'=old\n", LINE + b"\n"),
    "placeholder": (b"MUSHU_API_KEY=\nB=2\n", LINE + b"\nB=2\n"),
    "placeholder at the end": (b"MUSHU_API_KEY=", LINE),
    "placeholder in quotes": (b'MUSHU_API_KEY=""\n', LINE + b"\n"),
    "placeholder with a comment": (b"MUSHU_API_KEY= # put it here\n", b"# put it here\n" + LINE + b"\n"),
    "placeholder with blanks": (b"MUSHU_API_KEY =  \nB=2\n", LINE + b"\nB=2\n"),
    "bare name": (b"MUSHU_API_KEY\nB=2\n", LINE + b"\nB=2\n"),
    "bare exported name": (b"export MUSHU_API_KEY  # c\n", b"# c\nexport " + LINE + b"\n"),
    "bare name glued to a comment": (b"MUSHU_API_KEY#c\n", b"#c\n" + LINE + b"\n"),
    "name in a multi-line value": (b'A="\nMUSHU_API_KEY=decoy\n"\n', b'A="\nMUSHU_API_KEY=decoy\n"\n' + LINE + b"\n"),
    "name in a comment": (b"#MUSHU_API_KEY=x\n", b"#MUSHU_API_KEY=x\n" + LINE + b"\n"),
    "name in a value": (b"A=MUSHU_API_KEY=x\n", b"A=MUSHU_API_KEY=x\n" + LINE + b"\n"),
    "longer name": (b"MUSHU_API_KEY_OLD=x\n", b"MUSHU_API_KEY_OLD=x\n" + LINE + b"\n"),
    "shorter name": (b"MUSHU_API=x\n", b"MUSHU_API=x\n" + LINE + b"\n"),
    "prefixed name": (b"OLD_MUSHU_API_KEY=x\n", b"OLD_MUSHU_API_KEY=x\n" + LINE + b"\n"),
    "lower-case name": (b"mushu_api_key=x\n", b"mushu_api_key=x\n" + LINE + b"\n"),
    "look-alike name": ("MUSHU_\u0410PI_KEY=x\n".encode(), "MUSHU_\u0410PI_KEY=x\n".encode() + LINE + b"\n"),
    "interpolation in the old value": (b"MUSHU_API_KEY=${A}\n", LINE + b"\n"),
    "interpolation elsewhere": (
        b"A=${MUSHU_API_KEY}\nMUSHU_API_KEY=$A\nB='${A:-x}'\n",
        b"A=${MUSHU_API_KEY}\n" + LINE + b"\nB='${A:-x}'\n",
    ),
    "line separator in a value": (
        "A=1\u2028MUSHU_API_KEY=x\n".encode(),
        "A=1\u2028MUSHU_API_KEY=x\n".encode() + LINE + b"\n",
    ),
    "line separator before the name": ("\u2028MUSHU_API_KEY=x\n".encode(), LINE + b"\n"),
    "next line character": ("\u0085 MUSHU_API_KEY\u0085=\u0085x\n".encode(), LINE + b"\n"),
    "vertical tab": (b"MUSHU_API_KEY=x\v#c\n", b"#c\n" + LINE + b"\n"),
    "no-break space": ("MUSHU_API_KEY=x\u00a0# c\n".encode(), b"# c\n" + LINE + b"\n"),
    "right-to-left and emoji": (
        "A=\u202e\u05e9\u05dc\u05d5\u05dd 🗝\nMUSHU_API_KEY=🔑\n".encode(),
        "A=\u202e\u05e9\u05dc\u05d5\u05dd 🗝\n".encode() + LINE + b"\n",
    ),
    "other name twice": (b"A=1\nA=2\nMUSHU_API_KEY=x\n", b"A=1\nA=2\n" + LINE + b"\n"),
    "many lines": (_LINES, _LINES + LINE + b"\n"),
    "one very long line": (_LONG_LINE, _LONG_LINE + b"\n" + LINE + b"\n"),
}

_MARKED = "begins with a byte order mark, and shells, systemd and Node take it"
_OPEN = "has a quote, a bracket or a command outside quotes"

#: What stands there, the line and the reader that the refusal names, and the way out.
NOT_ALIKE: dict[str, tuple[bytes, str, str]] = {
    "only a byte order mark": (b"\xef\xbb\xbf", f"line 1 {_MARKED}", "Save the file without one"),
    "first after a byte order mark": (b"\xef\xbb\xbf# a\nMUSHU_API_KEY=s3cret\n", f"line 1 {_MARKED}", "Save the file"),
    "below a bare name": (
        b"A=1\nBARE\nMUSHU_API_KEY=s3cret\n",
        "line 2 is a name without =, and Node",
        "Write NAME= there",
    ),
    "below an indented comment": (
        b"A=1\n  # s3cret\nMUSHU_API_KEY=\n",
        "line 2 begins with blanks and sets nothing, and Node",
        "Remove the blanks",
    ),
    "below a form feed": (b"A=1\n\f\nMUSHU_API_KEY=\n", "line 2 begins with blanks", "Remove the blanks"),
    "within a quote of a shell": (b"A=it's\nMUSHU_API_KEY=\nB=that's s3cret\n", f"line 1 {_OPEN}", "in quotes"),
    "before a quote that ours opened": (b"MUSHU_API_KEY=it's\nB=that's s3cret\n", f"line 1 {_OPEN}", "in quotes"),
    "on a line that opens a quote": (b"MUSHU_API_KEY=}'x\nB=\\'$s3cret\n", f"line 1 {_OPEN}", "in quotes"),
    "on a line that begins a substitution": (b"MUSHU_API_KEY=$(\nB=s3cret\n)\n", f"line 1 {_OPEN}", "in quotes"),
    "above a line that is counted as it stands": (
        b"MUSHU_API_KEY= # c\nA=1; MUSHU_API_KEY=s3cret\n",
        "line 2 sets MUSHU_API_KEY as well",
        "move it above",
    ),
    "on a line that alone ends in a carriage return": (
        b"# s3cret\nMUSHU_API_KEY= # c\r\n",
        "line 2 ends in a carriage return, and others do not",
        "dos2unix",
    ),
    "within a substitution": (b"A=$(\nMUSHU_API_KEY=s3cret\n)\n", f"line 1 {_OPEN}", "in quotes"),
    "within backticks": (
        b"A=`s3cret\nMUSHU_API_KEY=\nB=`\n",
        "line 1 has a ` without a second one, and Node",
        "in quotes",
    ),
    "within a here-document": (b"A=<<E\nMUSHU_API_KEY=s3cret\nE\n", f"line 1 {_OPEN}", "in quotes"),
    "below the end of a shell": (b"A=1\nreturn\nB=2\nMUSHU_API_KEY=s3cret\n", f"line 2 {_OPEN}", "in quotes"),
    "below another end of a shell": (b"A=1; exit\nMUSHU_API_KEY=s3cret\n", f"line 1 {_OPEN}", "in quotes"),
    "below a command behind a value": (b"A='1' # c\nB=s3cret exit\nMUSHU_API_KEY=\n", f"line 2 {_OPEN}", "in quotes"),
    "below escaped quotes over lines": (
        b'A="s3\\"\ncret"\nB=1\nMUSHU_API_KEY=\n',
        "line 1 has a backslash before a quote, and Node",
        "below this variable",
    ),
    "above a decoy over lines": (
        b'MUSHU_API_KEY=\nA="\nMUSHU_API_KEY=s3cret\n"\n',
        "line 3 sets MUSHU_API_KEY as well",
        "move it above",
    ),
    "above a second assignment": (
        b"MUSHU_API_KEY=\nA=1 MUSHU_API_KEY=s3cret\n",
        "line 2 sets MUSHU_API_KEY as well",
        "move it above",
    ),
    "the only export": (
        b"A=1\nB=s3cret\nexport MUSHU_API_KEY=\n",
        "line 3 begins with `export`, and the others do not, and systemd",
        "or on none",
    ),
    "behind a lone carriage return": (
        b"A=s3cret\rMUSHU_API_KEY=\nB=2\n",
        "line 1 ends in a carriage return alone",
        "dos2unix",
    ),
    "the only CRLF": (
        b"A=s3cret\nMUSHU_API_KEY=\r\nB=2\n",
        "line 2 ends in a carriage return, and others do not",
        "dos2unix",
    ),
}

#: What stands there, the reason that the refusal names, and the way out.
REFUSED: dict[str, tuple[bytes, str, str]] = {
    "set twice": (b"MUSHU_API_KEY=a\nB=2\n\n MUSHU_API_KEY=s3cret\n", "more than once, on lines 1, 4", "Keep one"),
    "set twice, once bare": (b"MUSHU_API_KEY\nMUSHU_API_KEY=s3cret\n", "on lines 1, 2", "Keep one"),
    "set twice with CRLF": (b"\r\nMUSHU_API_KEY=a\r\n\r\nMUSHU_API_KEY=s3cret\r\n", "on lines 2, 4", "Keep one"),
    "unclosed quote": (b"A=1\nB='s3cret\nC=3\n", "does not parse at line 2", "Mend that line"),
    "unclosed quote of ours": (b'A=1\n\n\nMUSHU_API_KEY="s3cret\n', "does not parse at line 4", "Mend that line"),
    "text after a quote": (b'A="s3"cret\n', "does not parse at line 1", "Mend that line"),
    "a shell command": (b"A=1\r\nset -o s3cret\r\n", "does not parse at line 2", "Mend that line"),
    "no name": (b"A=1\n\n=s3cret\n", "does not parse at line 3", "Mend that line"),
    "a variable called export": (b"export = s3cret\n", "does not parse at line 1", "Mend that line"),
    "UTF-16": ("A=s3cret\n".encode("utf-16"), "is not UTF-8 (byte 1)", "iconv"),
    "latin-1": ("A=s3cret\nB=ü\n".encode("latin-1"), "is not UTF-8 (byte 12)", "iconv"),
    "surrogate": (b"A=s3cret\xed\xa0\x80\n", "is not UTF-8 (byte 9)", "iconv"),
    "NUL": (b"A=1\nB=s3cret\0\n", "has a NUL on line 2", "Remove it"),
    "endless blanks": (
        b"A=s3cret\nB=x" + b" " * 1_000_000 + b"y\n",
        "more than a thousand blanks in a row on line 2",
        "Remove",
    ),
    "seventeen megabytes": (b"# s3cret\n" * 1_950_000, "larger than 16 MiB", "Name the right one"),
}


@pytest.mark.parametrize(("before", "after"), CHANGED.values(), ids=CHANGED)
def test_exactly_one_line_changes_and_changes_back(tmp_path: Path, before: bytes, after: bytes) -> None:
    file = private(tmp_path / ".env", before)
    receipt = deliver(file)
    assert file.read_bytes() == after
    assert dotenv_values(file, interpolate=False, encoding="utf-8-sig")[VARIABLE] == KEY.reveal()
    assert file.stat().st_mode & 0o7777 == 0o600
    assert destination(file).restore(receipt)
    assert file.read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.fault
@pytest.mark.parametrize(("content", "reason", "way_out"), NOT_ALIKE.values(), ids=NOT_ALIKE)
def test_what_not_every_program_would_read_is_refused(
    tmp_path: Path, content: bytes, reason: str, way_out: str
) -> None:
    test_a_file_that_cannot_be_changed_safely_is_left_alone(
        tmp_path, content, f"not be read alike by all: {reason}", way_out
    )


@pytest.mark.parametrize(("content", "reason", "way_out"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_cannot_be_changed_safely_is_left_alone(
    tmp_path: Path, content: bytes, reason: str, way_out: str
) -> None:
    file = private(tmp_path / ".env", content)
    before = Trace.of(file)
    for act in (destination(file).preflight, lambda: deliver(file)):
        with pytest.raises(DestinationError) as caught:
            act()
        assert caught.value.permanent
        assert str(file) in str(caught.value)
        assert reason in str(caught.value)
        assert way_out in str(caught.value)
        assert "s3cret" not in str(caught.value)
    assert Trace.of(file) == before
    assert list(tmp_path.iterdir()) == [file], "a refusal must leave nothing behind"


@pytest.mark.parametrize(
    ("content", "after"),
    [
        (b"A=1\n\n" + LINE + b"\nB=2\n", b"A=1\n\nB=2\n"),
        (b"A=1\r\n  export " + LINE + b" # c\r\nB=2\r\n", b"A=1\r\nB=2\r\n"),
        (b"A=1\n" + LINE, b"A=1\n"),
        (b"\xef\xbb\xbf" + LINE + b"\nB=2", b"\xef\xbb\xbfB=2"),
        (b"A=1\r" + LINE + b"\rB=2\r", b"A=1\rB=2\r"),
        (LINE + b"\n", b""),
        (b"# c\nMUSHU_API_KEY='" + NEW + b"'\n# d\n", b"# c\n# d\n"),
    ],
)
def test_remove_deletes_the_line_and_nothing_else(tmp_path: Path, content: bytes, after: bytes) -> None:
    file = private(tmp_path / ".env", content)
    assert destination(file).remove(KEY.digest())
    assert file.read_bytes() == after


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "two words",
        "a'b",
        'a"b',
        "a#b",
        "a\nb",
        "a\rb",
        "$A",
        "${A}",
        "a\\b",
        "a`b",
        "ü",
        "\udcff",
        "a\0",
        ":~a",
    ],
)
def test_a_value_that_would_need_quotes_is_refused_and_not_shown(tmp_path: Path, value: str) -> None:
    file = private(tmp_path / ".env", b"A=1\n")
    with pytest.raises(DestinationError, match="needs quotes or escapes") as caught:
        deliver(file, Secret(f"hush{value}" if value else value))
    assert caught.value.permanent
    assert "hush" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [file]


def test_restore_keeps_what_others_added_below(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"A=1")
    receipt = deliver(file)
    private(file, file.read_bytes() + b"B=2\n")
    assert destination(file).restore(receipt)
    assert file.read_bytes() == b"A=1\nB=2\n"


def test_the_last_of_several_bindings_is_read_as_python_dotenv_reads_it(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"MUSHU_API_KEY=a\nMUSHU_API_KEY=" + NEW + b"\n")
    assert destination(file).read().digest == KEY.digest()


def test_versions_differ_wherever_the_value_does(tmp_path: Path) -> None:
    contents = [b"", b"MUSHU_API_KEY=\n", b"MUSHU_API_KEY=a\n", b"MUSHU_API_KEY=b\n"]
    versions = [destination(private(tmp_path / ".env", content)).read().version for content in contents]
    assert all(one != other for one, other in itertools.combinations(versions, 2))


def test_a_neighbour_may_change_between_look_and_write(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"A=1\nMUSHU_API_KEY=a\n")
    before = destination(file).read()
    private(file, b"A=2\nMUSHU_API_KEY=a\n")
    assert destination(file).read() == before
