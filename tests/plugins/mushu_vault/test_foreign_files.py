"""A file with a credential that another user made is not believed."""

import os
from pathlib import Path

import pytest

from mushu_vault.login import secret_in
from tests.plugins.mushu_vault.places import refused

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file to another user")


def _file(folder: Path, user: int) -> str:
    file = folder / "secret-id"
    file.write_text("word")
    file.chmod(0o600)
    os.chown(file, user, user)
    return str(file)


@pytest.mark.fault
def test_the_file_of_another_user_is_refused(tmp_path: Path) -> None:
    refused(
        lambda: secret_in(_file(tmp_path, 65534), "VAULT_SECRET_ID_FILE"),
        "belongs to nobody, who chose what is in it",
        permanent=True,
    )


def test_the_file_of_root_and_one_that_may_be_shared_are_read(tmp_path: Path) -> None:
    assert secret_in(_file(tmp_path, 0), "VAULT_SECRET_ID_FILE").reveal() == "word"
    assert secret_in(_file(tmp_path, 65534), "TOKEN", may_be_shared=True).reveal() == "word"
