"""Whether every program that reads a `.env` file would read the line of ours: one conservative scan.

Programs differ in what ends a line, opens a quote or begins a comment. The scan accepts a place only if none of these
differences reaches it. What it cannot tell counts as a problem. It is tested against the programs themselves.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from mushu_dotenv.parsing import MARK, Parsed, ShellScan, Statement, cut, is_command, lead_of, line_at, scanned

_BARE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_ESCAPED_QUOTE: Final = re.compile(r"""\\[\\'"]""")
_LONE_NEWLINE: Final = re.compile(r"(?<!\r)\n")
_NO_LINE_END: Final = re.compile(r"[^\r\n]")
#: In the middle of anything: what a shell may take for an assignment, and for a command about a variable.
_ASSIGNED: Final = re.compile(r"(?:^|(?<=[\s;&|(\"'`]))([A-Za-z_]\w*)\s*\+?=")
_COMMAND: Final = re.compile(r"(?:^|(?<=[\s;&|(\"'`]))(?:unset|readonly)\s")
_WORD: Final = re.compile(r"\w+")

_QUOTE_IT: Final = "Put the value of that line in quotes"


@dataclass(frozen=True, slots=True)
class ReaderProblem:
    """Why a line cannot be read by all: a line of the file, who fails there, and the way out."""

    line: int
    what: str
    reader: str
    way_out: str

    @property
    def sentences(self) -> str:
        """The end of a sentence that begins with the path; shows nothing of the content."""
        return f"would not be read alike by all: line {self.line} {self.what}, and {self.reader}. {self.way_out}"


def reader_problem(former: Parsed, changed: Parsed, variable: str) -> ReaderProblem | None:
    """Return why not every program that could read `former` reads `variable` from `changed`; None if each does."""
    own = next((statement for statement in reversed(changed.statements) if statement.key == variable), None)
    if own is None:
        return None  # it does not parse any more, which is found when it is stored
    place = own.offset + len(lead_of(own.text))
    found = (
        _line_ends(former, changed, own, place)
        or _above(changed, own)
        or _shells(former, changed, place)
        or _elsewhere(changed, own, variable)
        or _export(changed, own)
    )
    before = next((statement for statement in reversed(former.statements) if statement.key == variable), None)
    if before is None:
        return _unfinished(former, changed) or found
    start = before.offset + len(lead_of(before.text))
    begun = _begun(former, start, before.offset + len(before.text))
    return begun or (None if found is None else _numbered_as_before(found, former, start, changed, place))


def _numbered_as_before(found: ReaderProblem, former: Parsed, start: int, changed: Parsed, place: int) -> ReaderProblem:
    """Name the line as the file stands: a comment that is to move adds one, and a value of many lines takes some."""
    was, now = line_at(former.text, start), line_at(changed.text, place)
    if found.line < now:
        return found
    added = line_at(changed.text, len(changed.text)) - line_at(former.text, len(former.text))
    return replace(found, line=was if found.line == now else found.line - added)


def carries_return(document: Parsed) -> bool:
    """Tell whether a value ends in a carriage return to a shell, which a comment behind it would hide."""
    scan = _scan_of(document)
    ends = [found for found in (scan.stopped_at, scan.unclosed_at) if found is not None]
    known = min(ends, default=len(document.text))
    for statement in document.statements:
        if statement.offset + len(statement.text) > known:
            break
        pieces = cut(statement.text) if statement.value is not None else None
        if pieces is not None and "#" not in pieces.after and "\r" in pieces.after:
            return True
    return False


def _unfinished(former: Parsed, changed: Parsed) -> ReaderProblem | None:
    """A backslash at the very end stands for itself; with a newline behind it, it does not."""
    if not former.text.endswith("\\") or not changed.text.startswith(former.text):
        return None
    return ReaderProblem(
        line_at(former.text, len(former.text)),
        "is the last one and ends in a backslash",
        "shells read it differently once a line follows",
        "End the file with an empty line",
    )


def _line_ends(former: Parsed, changed: Parsed, own: Statement, place: int) -> ReaderProblem | None:
    """A carriage return alone ends a line for python-dotenv and systemd, and for nobody else."""
    text, end = changed.text, own.offset + len(own.text)
    if "\n" not in text:
        return None
    for edge in (place, end):
        if edge and text[edge - 1] == "\r":
            return ReaderProblem(
                line_at(text, edge - 1),
                "ends in a carriage return alone",
                "shells, docker, compose and Node go on reading it",
                "Let all lines end in the same way, for example with `dos2unix`",
            )
    if text[:end].endswith("\r\n") and (_LONE_NEWLINE.search(text) or not carries_return(former)):
        return ReaderProblem(
            line_at(text, place),
            "ends in a carriage return, and others do not",
            "a shell takes it for a part of the value",
            "Let all lines end in the same way, for example with `dos2unix`",
        )
    return None


def _above(changed: Parsed, own: Statement) -> ReaderProblem | None:
    """Return what the lines above leave open for programs that are no shells."""
    text = changed.text
    loose = _marked() if text.startswith(MARK) else None
    for statement in changed.statements:
        if statement.offset >= own.offset:
            break
        lasting = _lasting(text, statement)
        if lasting is not None:
            return lasting
        loose = _loose(text, statement, loose)
    return loose or _blanks(text, own.offset, lead_of(own.text))


def _marked() -> ReaderProblem:
    return ReaderProblem(
        1,
        "begins with a byte order mark",
        "shells, systemd and Node take it for a part of the first name",
        "Save the file without one, as plain UTF-8",
    )


def _lasting(text: str, statement: Statement) -> ReaderProblem | None:
    """Return what leaves a value open whose end programs see in different places."""
    pieces = cut(statement.text) if statement.key is not None else None
    if pieces is None:
        return None
    written, start = pieces.written, statement.offset + len(pieces.before)
    if written.startswith("`") and "`" not in written[1:]:
        return ReaderProblem(
            line_at(text, start), "has a ` without a second one", "Node looks for it further down", _QUOTE_IT
        )
    if written[:1] not in ("'", '"') or not _ESCAPED_QUOTE.search(written):
        return None
    if "\n" in written:
        return ReaderProblem(
            line_at(text, start),
            "has a backslash before a quote",
            "Node and compose see the end of the value elsewhere",
            "Write that value without one, or below this variable",
        )
    return None


def _loose(text: str, statement: Statement, loose: ReaderProblem | None) -> ReaderProblem | None:
    """Return what Node would take for the beginning of the next name, after `statement`."""
    if statement.key is None:
        stripped = statement.text.lstrip()
        return loose or _blanks(text, statement.offset, statement.text[: len(statement.text) - len(stripped)])
    pieces = cut(statement.text)
    if pieces is not None and statement.value is not None:
        return None
    return ReaderProblem(
        line_at(text, statement.offset + len(lead_of(statement.text))),
        "is a name without =",
        "Node takes it for the beginning of the next name",
        "Write NAME= there, or move it below",
    )


def _blanks(text: str, offset: int, space: str) -> ReaderProblem | None:
    """Return the indented comment, or the line of blanks, that `space` belongs to."""
    unequal = _NO_LINE_END.search(space)
    if unequal is None or (offset == 0 and not space.strip(" ")):
        return None
    return ReaderProblem(
        line_at(text, offset + unequal.start()),
        "begins with blanks and sets nothing",
        "Node takes it for the beginning of the next name",
        "Remove the blanks at its beginning",
    )


def _shells(former: Parsed, changed: Parsed, place: int) -> ReaderProblem | None:
    if not _LONE_NEWLINE.search(changed.text) and carries_return(former):
        return None  # a shell reads no value right, neither before nor after
    now = _scan_of(changed)
    if now.unclosed_at is not None and _scan_of(former).unclosed_at is not None:
        return None  # no shell reads it, neither before nor after
    found = now.obstacle(place)
    if found is None and now.unclosed_at is not None:
        found = now.unclosed_at
    return None if found is None else _open(changed.text, found)


def _begun(former: Parsed, start: int, stop: int) -> ReaderProblem | None:
    """Return what the former line of ours begins that to a shell ends below it, where nothing would begin it then."""
    if not _LONE_NEWLINE.search(former.text) and carries_return(former):
        return None
    found = _scan_of(former).begun_between(start, stop)
    return None if found is None else _open(former.text, found)


def _open(text: str, found: int) -> ReaderProblem:
    return ReaderProblem(
        line_at(text, found),
        "has a quote, a bracket or a command outside quotes, which may not end there",
        "a shell may take what follows for a part of it",
        _QUOTE_IT,
    )


def _scan_of(document: Parsed) -> ShellScan:
    """Return the scan of the text, which also stops where a shell sees a command of its own."""
    scan = scanned(document.text)
    for statement in document.statements:
        start = statement.offset + len(lead_of(statement.text))
        if scan.stopped_at is not None and scan.stopped_at <= start:
            break
        if scan.unclosed_at is not None and scan.unclosed_at <= start:
            break
        if _runs(statement):
            return ShellScan(scan.stretches, start, None)
    return scan


def _runs(statement: Statement) -> bool:
    if statement.key is None:
        return statement.text.strip("\r\n\t ") not in ("", MARK) and not statement.text.lstrip("\r\n\t ").startswith(
            "#"
        )
    pieces = cut(statement.text)
    if pieces is None or statement.value is None:
        return _BARE.fullmatch(statement.key) is None
    return not pieces.exported and is_command(pieces.written + pieces.after)


def _elsewhere(changed: Parsed, own: Statement, variable: str) -> ReaderProblem | None:
    """Return the line below that some programs would take for an assignment of the same name."""
    for statement in changed.statements:
        named = statement.offset > own.offset and statement.key is not None
        end = _end_of_setting(statement.text, variable) if named else None
        if end is not None:
            return ReaderProblem(
                line_at(changed.text, statement.offset + end),
                f"sets {variable} as well, in the middle of something else",
                "shells, docker and Node may take that for its value",
                "Change that line, or move it above",
            )
    return None


def _end_of_setting(text: str, variable: str) -> int | None:
    """Return where the first thing ends that may set or unset the variable; takes one look at each character."""
    ends = [found.end() for found in _ASSIGNED.finditer(text) if found[1] == variable][:1]
    command = _COMMAND.search(text)
    while command is not None:
        line_end = text.find("\n", command.end())
        line_end = len(text) if line_end < 0 else line_end
        words = _WORD.finditer(text, command.end(), line_end)
        named = next((word for word in words if word[0] == variable), None)
        if named is not None:
            return min([*ends, named.end()])
        command = _COMMAND.search(text, line_end)
    return ends[0] if ends else None


def _export(changed: Parsed, own: Statement) -> ReaderProblem | None:
    """With `export`, a line is a shell's, and so must others be."""
    pieces = cut(own.text)
    if pieces is None or not pieces.exported:
        return None
    others = [cut(found.text) for found in changed.statements if found.value is not None and found is not own]
    if not others or any(other is not None and other.exported for other in others):
        return None
    return ReaderProblem(
        line_at(changed.text, own.offset + len(lead_of(own.text))),
        "begins with `export`, and the others do not",
        "systemd and docker do not read it",
        "Write `export` on every line, or on none",
    )
