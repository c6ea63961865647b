"""`flask sealing`: what is encrypted can get new keys, and lost keys have a way out."""

from pathlib import Path

import pytest

from mushu.server.config import Settings
from tests.server.commands.conftest import Run
from tests.server.web.asking import execute

pytestmark = [pytest.mark.database, pytest.mark.usefixtures("acme", "migrated")]


@pytest.fixture
def keys_file(run: Run, settings: Settings) -> Path:
    """The file of the keys, with two destinations that are sealed with them."""
    for name in ("a", "b"):
        uri = f"env:/srv/{name}/.env"
        assert run("destinations", "add", name, uri, "--org", "acme", "--set", "timeout=5").code == 0
    return settings.sealing_keys_path


def bad(run: Run) -> dict[str, str]:
    return {check["check"]: check["detail"] for check in run("doctor", "--json").json if not check["ok"]}


def test_a_server_that_seals_nothing_needs_no_keys(run: Run, settings: Settings) -> None:
    assert run("sealing", "status").json == {
        "file": str(settings.sealing_keys_path),
        "keys": [],
        "values": 0,
        "faults": [],
    }
    assert bad(run) == {}
    assert not settings.sealing_keys_path.exists()


def test_rotating_gives_everything_a_new_key(run: Run, keys_file: Path) -> None:
    before = run("sealing", "status").json
    assert (len(before["keys"]), before["values"], before["faults"]) == (1, 2, [])
    rotated = run("sealing", "rotate").json
    assert rotated["values"] == 2
    after = run("sealing", "status").json
    assert after == before | {"keys": rotated["keys"]}
    assert before["keys"] != after["keys"]
    assert run("destinations", "check", "a", "--org", "acme").code == 3, "its folder is missing, and that is all"
    assert [row["settings"] for row in run("destinations", "list", "--org", "acme", "--json").json] == [["timeout"]] * 2


def test_no_key_is_ever_printed(run: Run, keys_file: Path) -> None:
    old = keys_file.read_text().strip()
    shown = "".join(ran.stdout + ran.stderr for ran in (run("sealing", "status"), run("sealing", "rotate")))
    assert old not in shown
    assert keys_file.read_text().strip() not in shown


class TestLostKeys:
    def test_doctor_and_status_say_what_to_do(self, run: Run, keys_file: Path) -> None:
        keys_file.unlink()
        assert "Restore it from a backup" in bad(run)["sealing"]
        status = run("sealing", "status")
        assert status.code == 3
        assert (status.json["keys"], len(status.json["faults"])) == ([], 1)

    def test_nothing_makes_new_ones_but_the_operator(self, run: Run, keys_file: Path) -> None:
        keys_file.unlink()
        for arguments in (
            ("sealing", "rotate"),
            ("destinations", "add", "c", "env:/srv/c", "--org", "acme", "--set", "timeout=5"),
            ("destinations", "set", "a", "--org", "acme", "--set", "timeout=5"),
        ):
            ran = run(*arguments)
            assert ran.code == 1
            assert "is missing" in ran.stderr
        assert not keys_file.exists()
        assert run("sealing", "begin-anew").code == 2, "and who is not there cannot agree"
        assert not keys_file.exists()

    def test_beginning_anew_what_was_sealed_is_entered_again(self, run: Run, keys_file: Path) -> None:
        keys_file.rename(keys_file.with_name("damaged"))
        ran = run("sealing", "begin-anew", "--yes")
        assert ran.code == 3
        assert (ran.json["values"], len(ran.json["faults"])) == (2, 2)
        assert all("dst_" in fault for fault in ran.json["faults"])
        assert run("destinations", "set", "a", "--org", "acme", "--set", "timeout=6").code == 0
        assert len(run("sealing", "status").json["faults"]) == 1
        assert run("destinations", "set", "b", "--org", "acme", "--set", "timeout=6").code == 0
        assert bad(run) == {}
        assert run("sealing", "rotate").code == 0

    def test_keys_that_are_there_are_never_replaced(self, run: Run, keys_file: Path) -> None:
        before = keys_file.read_bytes()
        ran = run("sealing", "begin-anew", "--yes")
        assert ran.code == 2
        assert "Move it away first" in ran.stderr
        assert keys_file.read_bytes() == before

    def test_a_file_cut_short_is_said_to_be(self, run: Run, keys_file: Path) -> None:
        keys_file.write_text(keys_file.read_text()[:30])
        assert f"{keys_file} is damaged" in bad(run)["sealing"]
        assert "is damaged" in run("sealing", "rotate").stderr

    def test_a_damaged_file_is_said_to_be_even_if_nothing_is_sealed(self, run: Run, settings: Settings) -> None:
        settings.sealing_keys_path.write_text("no key\n")
        settings.sealing_keys_path.chmod(0o600)
        assert "is damaged" in bad(run)["sealing"]


def test_doctor_finds_keys_that_others_can_read(run: Run, keys_file: Path) -> None:
    keys_file.chmod(0o640)
    assert f"chmod go= {keys_file}" in bad(run)["permissions"]


@pytest.mark.usefixtures("in_core")
def test_doctor_finds_values_that_were_exchanged(run: Run, keys_file: Path) -> None:
    first = "(SELECT sealed_settings FROM destinations WHERE name = 'a')"
    execute(f"UPDATE destinations SET sealed_settings = {first} WHERE name = 'b'")
    assert "moved it there from another row" in bad(run)["sealing"]


def test_the_file_can_lie_elsewhere(
    run: Run, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "mounted" / "keys"
    monkeypatch.setenv("MUSHU_SEALING_KEYS_FILE", str(elsewhere))
    add = ("destinations", "add", "c", "env:/srv/c", "--org", "acme", "--set", "timeout=5")
    assert "Nothing can be written" in run(*add).stderr
    elsewhere.parent.mkdir()
    assert run(*add).code == 0
    assert run("sealing", "status").json["file"] == str(elsewhere)
    assert not settings.sealing_keys_path.exists()
    elsewhere.chmod(0o644)
    assert str(elsewhere) in bad(run)["permissions"]
    monkeypatch.setenv("MUSHU_SEALING_KEYS_FILE", "relative")
    assert "absolute path" in bad(run)["settings"]
