"""The files in which a delivered key was not read: each reader that is named reads it now."""

from pathlib import Path

import pytest

from mushu.destination import Secret
from tests.plugins.mushu_dotenv.places import KEY, VARIABLE, deliver, private
from tests.plugins.mushu_dotenv.readings import READERS, lacking

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(bool(lacking()), reason=f"not all readers are on this machine: {lacking()}"),
]

_ALL = tuple(READERS)

_FILES = {
    "a value that ends in a backslash": ("DATA_DIR=C:\\data\\\n", _ALL),
    "a backslash as the last byte": ("DATA_DIR=C:\\data\\", _ALL),
    "a comment that ends in a backslash": ("A=1\n# C:\\data\\\n", _ALL),
    "a placeholder with a note": ("MUSHU_API_KEY= # ask ops\n", _ALL),
    "a placeholder in quotes": ('MUSHU_API_KEY=""\n', _ALL),
    "blanks around =": ("MUSHU_API_KEY = \n", _ALL),
    "a tab before the name": ("A=1\n\tMUSHU_API_KEY=\n", _ALL),
    "a bare name at the end": ("A=1\nBARE\n", ("Node", "docker", "systemd")),
    "an indented comment at the end": ("A=1\n  # note\n", _ALL),
    "a file of a shell": ("export A=1\n", ("bash", "dash", "Node", "compose", "python-dotenv")),
}


@pytest.mark.parametrize(("content", "readers"), _FILES.values(), ids=_FILES)
def test_the_key_is_read_by_each(tmp_path: Path, content: str, readers: tuple[str, ...]) -> None:
    file = private(tmp_path / ".env", content.encode())
    deliver(file)
    read = {name: READERS[name]([file])[0].values.get(VARIABLE) for name in readers}
    assert read == dict.fromkeys(readers, KEY.reveal())
    assert (b"export MUSHU" in file.read_bytes()) == content.startswith("export")


def test_the_address_beside_a_key_is_read_by_all(tmp_path: Path) -> None:
    file, url = private(tmp_path / ".env", b"A=1\n"), "https://keys.example.com:8443/team~a/b"
    deliver(file)
    deliver(file, Secret(url), "MUSHU_URL")
    read = {name: READERS[name]([file])[0].values for name in _ALL}
    assert {values.get("MUSHU_URL") for values in read.values()} == {url}, read
