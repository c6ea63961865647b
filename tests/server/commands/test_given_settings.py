"""Settings of a destination as an operator gives them: a secret never stands on the command line."""

import io
import os
import sys
from pathlib import Path

import click
import pytest

from mushu.environment import Environment
from mushu.keyformat import Prefix, generate
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.environments import within
from mushu_dotenv import DotenvDestination
from tests.server.commands.conftest import Run
from tests.server.commands.naming import TOKEN, add, listed

pytestmark = pytest.mark.usefixtures("acme", "_any_setting")


@pytest.fixture
def _any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a plugin that does not say which settings it reads, as those that are older than the question."""
    monkeypatch.setattr(DotenvDestination, "known_settings", None)


class TestSecretSettings:
    @pytest.mark.parametrize(
        "name", ["token", "vault_token", "secret_id", "password", "passwd", "proxy_password", "api_key", "client_key",
                 "passphrase", "credentials", "private_pem", "tokens", "key"],
    )  # fmt: skip
    def test_are_not_taken_from_the_command_line(self, run: Run, name: str) -> None:
        ran = add(run, "b", "env:.env", "--set", f"{name}={TOKEN}")
        assert ran.code == 2
        assert f"--ask {name}" in ran.stderr
        assert listed(run) == []

    def test_nor_is_what_looks_like_one_under_any_name(self, run: Run) -> None:
        key = generate(Prefix.LIVE_KEY).reveal()
        ran = add(run, "b", "env:.env", "--set", f"header={key}")
        assert ran.code == 2
        assert key not in ran.stderr

    @pytest.mark.parametrize("name", ["secret_id_file", "addr", "token_path", "mount", "role_id", "monkey_business"])
    def test_what_is_none_is(self, run: Run, name: str) -> None:
        assert add(run, "b", "env:.env", "--set", f"{name}=/x").json["settings"] == [name]

    def test_nor_is_the_path_of_a_file(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "client.pem").touch()
        assert add(run, "b", "env:.env", "--set", f"client_key={tmp_path}/client.pem").code == 0

    def test_come_from_a_file_that_only_this_account_reads(self, run: Run, tmp_path: Path, in_core: None) -> None:
        (tmp_path / "token").write_text(f"{TOKEN}\r\n")
        ran = add(run, "b", "env:.env", "--set-from-file", "token=token")
        assert ran.code == 1
        assert "chmod go= token" in ran.stderr
        (tmp_path / "token").chmod(0o600)
        assert add(run, "b", "env:.env", "--set-from-file", "token=token").code == 0
        assert self._settings() == {"token": TOKEN}

    @pytest.mark.fault
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_nor_from_a_file_that_another_user_wrote(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "token").chmod(0o600)
        os.chown(tmp_path / "token", 65534, -1)
        ran = add(run, "b", "env:.env", "--set-from-file", "token=token")
        assert ran.code == 1
        assert "token belongs to nobody, who chose what is in it." in ran.stderr
        assert listed(run) == []

    def test_come_from_a_pipe_of_our_own_as_a_shell_makes_one(self, run: Run, in_core: None) -> None:
        reading, writing = os.pipe()
        os.write(writing, TOKEN.encode())
        os.close(writing)
        ran = add(run, "b", "env:.env", "--set-from-file", f"token=/dev/fd/{reading}")
        os.close(reading)
        assert ran.code == 0, ran.stderr
        assert self._settings() == {"token": TOKEN}

    @pytest.mark.parametrize("content", [None, b"\xff\xfe", b""])
    def test_from_a_file_that_is_missing_or_holds_none_say_so(
        self, run: Run, tmp_path: Path, content: bytes | None
    ) -> None:
        if content is not None:
            (tmp_path / "token").write_bytes(content)
            (tmp_path / "token").chmod(0o600)
        ran = add(run, "b", "env:.env", "--set-from-file", "token=token")
        assert ran.code == 1
        assert "token" in ran.stderr

    def test_come_from_standard_input_a_line_each(self, run: Run, in_core: None) -> None:
        assert add(run, "b", "env:.env", "--ask", "token", "--ask", "pin", stdin=f"{TOKEN}\n1234\n").code == 0
        assert self._settings() == {"token": TOKEN, "pin": "1234"}

    def test_that_do_not_come_are_missed(self, run: Run) -> None:
        ran = add(run, "b", "env:.env", "--ask", "token", "--ask", "pin", stdin=f"{TOKEN}\n")
        assert ran.code == 2
        assert "no line on standard input for pin" in ran.stderr

    def test_are_asked_for_unseen_where_there_is_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from mushu.server.commands import given_settings

        prompts: list[tuple[str, dict[str, object]]] = []

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        def prompt(text: str, **options: object) -> str:
            prompts.append((text, options))
            return TOKEN

        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr(click, "prompt", prompt)
        assert given_settings.read_settings((), (), ("token",))["token"].reveal() == TOKEN
        assert prompts == [("token", {"hide_input": True})]

    @pytest.mark.parametrize(
        "options",
        [("--set", "timeout=5", "--set", "timeout=6"), ("--set", TOKEN), ("--set-from-file", TOKEN),
         ("--set", "timeout=5", "--ask", "timeout")],
    )  # fmt: skip
    def test_one_given_twice_or_without_a_name_is_refused_and_not_repeated(
        self, run: Run, options: tuple[str, ...]
    ) -> None:
        assert add(run, "b", "env:.env", *options, stdin=f"{TOKEN}\n").code == 2

    def _settings(self) -> dict[str, str]:
        from mushu.server.delivery.named_destinations import settings_for
        from mushu.server.destinations import DestinationRow

        with within(db.session, Environment.LIVE), reading(db.session):
            uri = db.session.query(DestinationRow).one().uri
        return dict(settings_for(db.session, get_core().sealing_keys, uri))
