"""A version tells whether the value changed, and nothing about the value: Mushu stores it."""

import os
import subprocess
import sys
from pathlib import Path

from mushu.destination import digest_of
from mushu.testing.processes import fork, wait_for
from tests.plugins.mushu_dotenv.places import OLD, destination, private


def test_a_version_is_no_hash_by_which_a_weak_value_could_be_guessed(tmp_path: Path) -> None:
    holding = destination(private(tmp_path / ".env", OLD)).read()
    assert holding.digest == digest_of("s3cret")
    assert holding.digest not in holding.version
    assert "s3cret" not in holding.version


def test_every_process_has_versions_of_its_own_and_shares_them_with_its_forks(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)
    here = destination(file).read().version
    assert destination(file).read().version == here
    assert wait_for(fork(lambda: destination(file).read().version != here)) == 0
    script = (
        "import sys; from pathlib import Path; from mushu.destination import Surroundings, open_destination; "
        "print(open_destination(sys.argv[1], Surroundings(Path('/'))).read().version)"
    )
    command = [sys.executable, "-c", script, destination(file).uri]
    elsewhere = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=True).stdout.strip()
    assert len(elsewhere) == len(here)
    assert elsewhere != here
