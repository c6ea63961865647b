"""Delivered means read: what the plugin writes, the real readers of `.env` files read, each that could read the file.

A reader could read a file if it complains of nothing and names the very variables that python-dotenv names.
"""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from dotenv.parser import parse_stream
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from mushu_dotenv.document import Document
from mushu_dotenv.readers import ReaderProblem
from tests.long import times
from tests.plugins.mushu_dotenv.corpus import files
from tests.plugins.mushu_dotenv.places import KEY, VARIABLE
from tests.plugins.mushu_dotenv.readings import Reading, lacking, readings

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.skipif(bool(lacking()), reason=f"not all readers are on this machine: {lacking()}"),
]

# No command of a shell that does anything, ends it or waits: there are no programs, and no slash to leave the folder.
_PIECES = [
    "A=", "B=", "export D=", "x", "y z", "'", '"', '""', "''", "\\", "\n", "\n", "\n", "\r\n", "#", " #", " ", "\t",
    "$", "$(", "${", ")", "}", "(", "=", ";", "BARE\n", "# c\n", "  # d\n", "\ufeff", "\\\n", "\\'", '\\"', "\\\\",
    "MUSHU_API_KEY=", "\nMUSHU_API_KEY=old\n", "\nMUSHU_API_KEY='' # c\n", " MUSHU_API_KEY=q", "\nC='x\ny'\n",
    "\u2028", "\f", "\nA=1\n", "\nB=1\n", "export ", "`", "`x`", "&", "&&", "|", "||", "<", "<<", ">", "{", "!",
]  # fmt: skip
_TEXTS = st.lists(st.sampled_from(_PIECES), min_size=2, max_size=12).map("".join)


@dataclass(frozen=True)
class Trial:
    """One file before and after a delivery, or with the reason why there was none."""

    before: str
    after: bytes
    reader_problem: ReaderProblem | None


def _trials(texts: Sequence[str]) -> list[Trial]:
    """Deliver into each text that python-dotenv reads and that sets the variable once at most."""
    trials = []
    for text in texts:
        document = Document(text.encode())
        if document.fault is None and len(document.lines(VARIABLE)) < 2:
            reader_problem = document.reader_problem(VARIABLE)
            after = document.data if reader_problem else document.with_value(VARIABLE, KEY)[0].data
            trials.append(Trial(text, after, reader_problem))
    return trials


def _read(folder: Path, contents: Sequence[bytes]) -> list[dict[str, Reading]]:
    paths = [folder / f"{number}.env" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    found = readings(paths)
    return [{name: found[name][number] for name in found} for number in range(len(contents))]


def _others(reading: Reading) -> dict[str, str | None]:
    return {name: value for name, value in reading.values.items() if name != VARIABLE}


def _could_read(name: str, reading: Reading, meant: Reading) -> bool:
    """Tell whether the reader saw what python-dotenv sees; to a shell, CRLF is a part of every value."""
    names = {variable for variable, value in meant.values.items() if value is not None}
    carries = name in ("bash", "dash") and any("\r" in (value or "") for value in reading.values.values())
    ours = VARIABLE in reading.values if VARIABLE in names else True
    return not reading.complaint and set(_others(reading)) == names - {VARIABLE} and ours and not carries


def _faults(trials: Sequence[Trial], folder: Path) -> tuple[list[str], list[str]]:
    """Return where a reader lost something, and which refusals had no reason in a reader that failed before."""
    before = _read(folder, [trial.before.encode() for trial in trials])
    after = _read(folder, [trial.after for trial in trials])
    lost, unfounded = [], []
    for trial, old, new in zip(trials, before, after, strict=True):
        could = [name for name in old if _could_read(name, old[name], old["python-dotenv"])]
        if trial.reader_problem is not None:
            misled = any("decoy" in (reading.values.get(VARIABLE) or "") for reading in old.values())
            if len(could) == len(old) and not misled:
                unfounded.append(f"{trial.before!r}: {trial.reader_problem.sentences}")
            continue
        for name in could:
            was, now = _others(old[name]), _others(new[name])
            kept = now == was or (_was_joined(trial) and now.keys() == was.keys())
            if new[name].complaint or new[name].values.get(VARIABLE) != KEY.reveal() or not kept:
                lost.append(f"{name}: {trial.before!r} -> {old[name]} -> {new[name]}")
    return lost, unfounded


def _was_joined(trial: Trial) -> bool:
    """Tell whether a backslash made one line of ours and the one above or below, so that a reader mixed them up."""
    lines = trial.before.split("\n")
    above = any(line.endswith("\\") and VARIABLE in below for line, below in pairwise(lines))
    own = [found.original.string for found in parse_stream(io.StringIO(trial.before)) if found.key == VARIABLE]
    return above or any(text.rstrip("\r\n").endswith("\\") for text in own)


@pytest.mark.fault
def test_every_reader_that_could_read_the_file_reads_the_key_and_all_else_as_before(tmp_path: Path) -> None:
    texts = files()[:: times(3, 1)]
    trials = _trials(texts)
    assert len(trials) >= times(100, 300)
    lost, unfounded = _faults(trials, tmp_path)
    assert lost == []
    assert unfounded == []
    refused = Counter(trial.reader_problem.what for trial in trials if trial.reader_problem is not None)
    assert sum(refused.values()) < len(trials) / 4, refused
    print(f"{len(trials)} files, refused: {dict(refused)}")


@settings(
    max_examples=times(2, 60),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(texts=st.lists(_TEXTS, min_size=40, max_size=40))
@example(
    texts=[
        "\n MUSHU_API_KEY=q\\\n\tA=\ty zA='",
        "MUSHU_API_KEY=}'x\nBARE\n\\'$x",
        "MUSHU_API_KEY=$(\n)\n",
        "MUSHU_API_KEY=x &&\nB=2\n",
        " #\r\n",
        "# c\r",
        "export &",
    ]
)
def test_any_text_is_read_as_before_or_refused(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    trials = _trials([*texts, *(f"A=1\n{text}\nB=2\n" for text in texts)])
    lost, _ = _faults(trials, tmp_path_factory.mktemp("readers"))
    assert lost == []
