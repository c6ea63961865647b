"""Which machine a path is on: by a name that is given, by the machine's id, in a container by the name of the host."""

from pathlib import Path

import pytest

from mushu.destination import DestinationError
from mushu_dotenv import destination
from mushu_dotenv.destination import machine_from


@pytest.fixture
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the id of a machine that is no container."""
    file = tmp_path / "machine-id"
    file.write_text("3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    monkeypatch.setattr(destination, "_MACHINE_IDS", (tmp_path / "missing", file))
    monkeypatch.setattr(destination, "_CONTAINER_MARKS", ())
    return file


def identity(host: str, monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    monkeypatch.setattr("os.uname", lambda: type("uname", (), {"nodename": host}))
    found = machine_from({}, environ)
    assert found.directions == f"on {host}"
    return found.identity


def test_a_machine_keeps_its_identity_under_another_name_and_shows_no_id(
    machine_id: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = identity("web-1", monkeypatch)
    assert found == identity("web-2", monkeypatch)
    assert machine_id.read_text().strip() not in found
    machine_id.write_text(f"{'0' * 32}\n")
    assert identity("web-1", monkeypatch) != found


def test_containers_of_one_image_are_told_apart_by_their_names(
    machine_id: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    found = {identity("web-1", monkeypatch), *(identity(host, monkeypatch, **pod) for host in ("web-1", "web-2"))}
    machine_id.unlink()
    found |= {identity(host, monkeypatch) for host in ("web-1", "web-2")}
    assert len(found) == 5


def test_a_name_that_is_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_from({"machine": "web-1"}).identity == "machine web-1"
    with pytest.raises(DestinationError, match="MUSHU_ENV_MACHINE must be a name"):
        machine_from({"machine": "two words"})
