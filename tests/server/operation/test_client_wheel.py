"""The wheel of the code that runs: whole, the same bytes wherever it is packed, and never half of one."""

import io
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from mushu.server.operation.client_wheel import ClientWheel, client_wheel, pack

ROOT = Path(__file__).resolve().parents[3]
NO_SETUP = Path("/nowhere/setup.cfg")


@pytest.fixture
def wheel() -> ClientWheel:
    found = client_wheel()
    assert found is not None
    return found


@pytest.fixture
def unpacked(wheel: ClientWheel, tmp_path: Path) -> Path:
    zipfile.ZipFile(io.BytesIO(wheel.content)).extractall(tmp_path)
    return tmp_path


def installed(folder: Path) -> PathDistribution:
    (metadata,) = folder.glob("*.dist-info")
    return PathDistribution(metadata)


@pytest.mark.fault
def test_it_holds_all_that_the_server_is_made_of(unpacked: Path) -> None:
    for base, folder in (("mushu", ROOT / "mushu"), *((p.name, p) for p in (ROOT / "plugins").iterdir())):
        for path in (*folder.rglob("*.py"), *folder.rglob("*.html"), *folder.rglob("*.css"), *folder.rglob("py.typed")):
            assert (unpacked / base / path.relative_to(folder)).read_bytes() == path.read_bytes()
    for path in (ROOT / "migrations").rglob("*.*"):
        if path.is_file() and path.suffix != ".pyc":
            packed = unpacked / "mushu" / "server" / "migrations" / path.relative_to(ROOT / "migrations")
            assert packed.read_bytes() == path.read_bytes()
    assert (unpacked / "mushu-1.0.0.dist-info" / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_an_installation_of_it_packs_the_same_bytes(wheel: ClientWheel, unpacked: Path) -> None:
    metadata = installed(unpacked)
    (unpacked / "mushu" / "__pycache__").mkdir()
    (unpacked / "mushu" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    record = unpacked / "mushu-1.0.0.dist-info" / "RECORD"
    by_pip = ("INSTALLER", "REQUESTED", "direct_url.json")
    more = [
        "../../../bin/mushu,,",
        "mushu/__pycache__/x.cpython-311.pyc,,",
        *(f"{record.parent.name}/{n},," for n in by_pip),
    ]
    record.write_text("\n".join([*reversed(record.read_text().splitlines()), *more]) + "\n")
    again = pack(metadata, NO_SETUP)
    assert again == wheel


def test_where_files_are_not_listed_or_missing_there_is_none(unpacked: Path) -> None:
    (unpacked / "mushu" / "duration.py").unlink()
    assert pack(installed(unpacked), NO_SETUP) is None
    (unpacked / "mushu-1.0.0.dist-info" / "RECORD").unlink()
    assert pack(installed(unpacked), NO_SETUP) is None
