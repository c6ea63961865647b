"""What is shown once and reaches nobody: the disk is full, the reader of the pipe is gone, or nothing is open."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Mushu, Served

#: How a shell starts a command whose output goes nowhere, and what the command says of that.
NOWHERE = {
    '"$@" >/dev/full': "No space left on device",
    '"$@" | true; exit 9': "Broken pipe",
    '"$@" >&-': "standard output is closed",
}

pytestmark = pytest.mark.fault


def into_nowhere(how: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", how, "sh", sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)


def states(mushu: Mushu, org_id: str) -> dict[str, Any]:
    return {key["key_id"]: key["state"] for key in mushu("api-key", "list", "--org", org_id, "--all", "--json").json}


@pytest.mark.parametrize("how", NOWHERE)
def test_a_key_that_could_not_be_printed_is_deleted_and_named(how: str, mushu: Mushu, acme: str) -> None:
    ended = into_nowhere(how, "mushu.cli.main", "api-key", "create", "--name", "unseen", "--org", acme)
    ((key_id, state),) = states(mushu, acme).items()
    assert state == "revoked"
    assert f"The key could not be printed: {NOWHERE[how]}. {key_id} was deleted." in ended.stderr
    assert "msk_" not in ended.stderr
    assert ended.returncode != 0


def test_a_successor_that_could_not_be_printed_is_deleted_and_the_old_key_works_on(mushu: Mushu, acme: str) -> None:
    old = mushu("api-key", "create", "--name", "seen", "--org", acme).json["key_id"]
    ended = into_nowhere('"$@" >/dev/full', "mushu.cli.main", "api-key", "rotate", old, "--show", "--org", acme)
    found = states(mushu, acme)
    (new,) = {*found} - {old}
    assert found == {old: "retiring", new: "revoked"}
    assert f"{new} was deleted. `mushu api-key show {old}` tells how long the old key works." in ended.stderr
    assert ended.returncode == 1


def test_the_status_of_a_delivery_is_that_of_the_key(mushu: Mushu, acme: str, tmp_path: Path) -> None:
    wanted = ["api-key", "create", "--name", "delivered", "--org", acme, "--to", f"env:{tmp_path / '.env'}"]
    ended = into_nowhere('"$@" >/dev/full', "mushu.cli.main", *wanted)
    assert (ended.returncode, [*states(mushu, acme).values()]) == (0, ["active"])
    assert "It is done. The answer could not be printed: No space left on device." in ended.stderr


@pytest.mark.usefixtures("acme")
def test_a_list_that_nobody_reads_to_its_end_ends_without_a_word(served: Served) -> None:
    ended = into_nowhere('"$@" | true', "mushu.cli.main", "org", "list", "--url", served.url)
    assert ended.stderr == ""
    assert "Error: The answer could not be printed" in into_nowhere('"$@" >&-', "mushu.cli.main", "org", "list").stderr


def test_everyday_faults_of_a_machine_are_sentences(served: Served, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for how, arguments, says in (
        (f'mkdir {gone} && cd {gone} && rmdir {gone} && "$@"', ("api-key", "create", "--name", "n", "--to", "env:.env"),
         "The current folder has been deleted."),
        ('"$@" <&-', ("auth", "login", "--email", "ada@example.com", "--url", served.url), "Add --password-stdin."),
        ('"$@" >/dev/full', ("--help",), "The answer could not be printed: No space left on device."),
    ):  # fmt: skip
        ended = into_nowhere(how, "mushu.cli.main", *arguments)
        assert says in ended.stderr
        assert "in a way it should not" not in ended.stderr
        assert ended.returncode in (1, 2)


def test_an_account_without_a_home_can_ask_with_a_key_and_keeps_nothing(
    mushu: Mushu, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(*_: object, **__: object) -> None:
        raise RuntimeError("Could not determine home directory.")

    _, secret = served.world.key(served.world.org())
    monkeypatch.setattr("platformdirs.user_config_path", no_home)
    monkeypatch.setenv("MUSHU_API_KEY", secret)
    assert mushu("tenant", "list").code == 0
    kept = mushu("config", "set", "url", served.url)
    assert (kept.code, "Set HOME, or XDG_CONFIG_HOME" in kept.stderr) == (1, True)
