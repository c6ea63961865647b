"""Odd and hostile contents: exactly one line changes, or nothing does and the refusal says why and the way out."""

import itertools
from pathlib import Path

import pytest
from dotenv import dotenv_values

from mushu.destination import DestinationError, Secret
from tests.plugins.mushu_dotenv.places import KEY, VARIABLE, Trace, deliver, destination, leftovers, private

NEW = KEY.reveal().encode()
LINE = b"MUSHU_API_KEY=" + NEW

#: What stands there, and what must stand there afterwards.
CHANGED: dict[str, tuple[bytes, bytes]] = {
    "empty file": (b"", LINE + b"\n"),
    "only a newline": (b"\n", b"\n" + LINE + b"\n"),
    "only comments": (b"# a\n#b", b"# a\n#b\n" + LINE + b"\n"),
    "only a byte order mark": (b"\xef\xbb\xbf", b"\xef\xbb\xbf" + LINE + b"\n"),
    "appended": (b"A=1\n", b"A=1\n" + LINE + b"\n"),
    "appended without a final newline": (b"A=1", b"A=1\n" + LINE + b"\n"),
    "appended after blanks": (b"A=1\n  \t", b"A=1\n  \t\n" + LINE + b"\n"),
    "appended to CRLF": (b"A=1\r\nB=2\r\n", b"A=1\r\nB=2\r\n" + LINE + b"\r\n"),
    "appended to CRLF without a final newline": (b"A=1\r\nB=2", b"A=1\r\nB=2\r\n" + LINE + b"\r\n"),
    "appended to lone CR": (b"A=1\rB=2\r", b"A=1\rB=2\r" + LINE + b"\r"),
    "appended to lone CR without a final newline": (b"A=1\rB=2", b"A=1\rB=2\r" + LINE + b"\r"),
    "appended after a bare name": (b"A", b"A\n" + LINE + b"\n"),
    "appended after a comment with a quote": (b"# it's", b"# it's\n" + LINE + b"\n"),
    "appended after a value in quotes": (b"A='1'", b"A='1'\n" + LINE + b"\n"),
    "replaced": (b"A=1\nMUSHU_API_KEY=old\nB=2\n", b"A=1\n" + LINE + b"\nB=2\n"),
    "replaced at the end without a newline": (b"A=1\nMUSHU_API_KEY=old", b"A=1\n" + LINE),
    "replaced with CRLF": (b"MUSHU_API_KEY=old\r\nB=2\r\n", LINE + b"\r\nB=2\r\n"),
    "replaced with lone CR": (b"A=1\rMUSHU_API_KEY=old\rB=2\r", b"A=1\r" + LINE + b"\rB=2\r"),
    "replaced in mixed line ends": (b"A=1\r\nMUSHU_API_KEY=old\nB=2\r", b"A=1\r\n" + LINE + b"\nB=2\r"),
    "replaced after a byte order mark": (b"\xef\xbb\xbfMUSHU_API_KEY=old\n", b"\xef\xbb\xbf" + LINE + b"\n"),
    "byte order mark and later lines": (
        b"\xef\xbb\xbf# a\r\nMUSHU_API_KEY=x\r\n",
        b"\xef\xbb\xbf# a\r\n" + LINE + b"\r\n",
    ),
    "single quotes": (b"MUSHU_API_KEY='old'\n", b"MUSHU_API_KEY='" + NEW + b"'\n"),
    "double quotes": (b'MUSHU_API_KEY="old"\n', b'MUSHU_API_KEY="' + NEW + b'"\n'),
    "escaped quotes": (b'MUSHU_API_KEY="o\\"l\\\\d"\n', b'MUSHU_API_KEY="' + NEW + b'"\n'),
    "escaped single quotes": (b"MUSHU_API_KEY='o\\'ld' #c\n", b"MUSHU_API_KEY='" + NEW + b"' #c\n"),
    "multi-line value": (b"A=1\nMUSHU_API_KEY='o\nl\nd' # c\nB=2\n", b"A=1\nMUSHU_API_KEY='" + NEW + b"' # c\nB=2\n"),
    "comment after the value": (b"MUSHU_API_KEY=old # keep = 'this'\n", LINE + b" # keep = 'this'\n"),
    "comment after quotes": (b'MUSHU_API_KEY="old"#keep\n', b'MUSHU_API_KEY="' + NEW + b'"#keep\n'),
    "# in the value": (b"MUSHU_API_KEY=o#ld\n", LINE + b"\n"),
    "# in quotes": (b"MUSHU_API_KEY='o # ld' # c\n", b"MUSHU_API_KEY='" + NEW + b"' # c\n"),
    "value that begins with #": (b"MUSHU_API_KEY=#old\n", LINE + b"\n"),
    "blanks after the value": (b"MUSHU_API_KEY=old  \t\n", LINE + b"  \t\n"),
    "words without quotes": (b"MUSHU_API_KEY=old and grey\n", LINE + b"\n"),
    "export": (b"export MUSHU_API_KEY=old\n", b"export " + LINE + b"\n"),
    "export and wide blanks": (b"\texport \t MUSHU_API_KEY=old\n", b"\texport \t " + LINE + b"\n"),
    "blanks around =": (b"MUSHU_API_KEY \t=  old\n", b"MUSHU_API_KEY \t=  " + NEW + b"\n"),
    "indented after blank lines": (b"\n\n   MUSHU_API_KEY=old\n", b"\n\n   " + LINE + b"\n"),
    "quoted name": (b"'MUSHU_API_KEY'=old\n", b"'MUSHU_API_KEY'=" + NEW + b"\n"),
    "placeholder": (b"MUSHU_API_KEY=\nB=2\n", LINE + b"\nB=2\n"),
    "placeholder at the end": (b"MUSHU_API_KEY=", LINE),
    "placeholder in quotes": (b'MUSHU_API_KEY=""\n', b'MUSHU_API_KEY="' + NEW + b'"\n'),
    "placeholder with a comment": (b"MUSHU_API_KEY= # put it here\n", LINE + b" # put it here\n"),
    "placeholder with blanks": (b"MUSHU_API_KEY =  \nB=2\n", b"MUSHU_API_KEY =" + NEW + b"  \nB=2\n"),
    "bare name": (b"MUSHU_API_KEY\nB=2\n", LINE + b"\nB=2\n"),
    "bare exported name": (b"export MUSHU_API_KEY  # c\n", b"export " + LINE + b"  # c\n"),
    "bare name glued to a comment": (b"MUSHU_API_KEY#c\n", LINE + b" #c\n"),
    "name in a multi-line value": (
        b'A="\nMUSHU_API_KEY=decoy\n"\n',
        b'A="\nMUSHU_API_KEY=decoy\n"\n' + LINE + b"\n",
    ),
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
    "line separator before the name": ("\u2028MUSHU_API_KEY=x\n".encode(), "\u2028".encode() + LINE + b"\n"),
    "next line character": (
        "\u0085 MUSHU_API_KEY\u0085=\u0085x\n".encode(),
        "\u0085 MUSHU_API_KEY\u0085=\u0085".encode() + NEW + b"\n",
    ),
    "form feed and vertical tab": (b"\f\nMUSHU_API_KEY=x\v#c\n", b"\f\n" + LINE + b"\v#c\n"),
    "no-break space": ("MUSHU_API_KEY=x\u00a0# c\n".encode(), LINE + "\u00a0# c\n".encode()),
    "right-to-left and emoji": (
        "A=\u202e\u05e9\u05dc\u05d5\u05dd 🗝\nMUSHU_API_KEY=🔑\n".encode(),
        "A=\u202e\u05e9\u05dc\u05d5\u05dd 🗝\n".encode() + LINE + b"\n",
    ),
    "other name twice": (b"A=1\nA=2\nMUSHU_API_KEY=x\n", b"A=1\nA=2\n" + LINE + b"\n"),
    "five megabytes": (
        b"A=1\n" + b"P=%s\n" % (b"x" * 500) * 10_000,
        b"A=1\n" + b"P=%s\n" % (b"x" * 500) * 10_000 + LINE + b"\n",
    ),
    "one very long line": (b"A=" + b"x" * 3_000_000, b"A=" + b"x" * 3_000_000 + b"\n" + LINE + b"\n"),
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
    ["", " ", "two words", "a'b", 'a"b', "a#b", "a\nb", "a\rb", "$A", "${A}", "a\\b", "a`b", "ü", "\udcff", "a\0"],
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
