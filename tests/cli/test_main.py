"""How a run ends, what it costs to start, and what a terminal sees."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mushu.cli import main, output
from mushu.cli.main import cli
from tests.cli.conftest import ORG, TOKEN, Mushu, login_answer
from tests.cli.stub import Stub, Told

pytestmark = pytest.mark.unmeasured

#: What no command needs before it asks a server or delivers a key.
HEAVY = ("httpx", "pydantic", "platformdirs", "ssl", "rich", "flask", "sqlalchemy", "dotenv", "mushu_dotenv",
         "mushu.server", "mushu.destination", "importlib.metadata")  # fmt: skip


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, (*path, name))
    else:
        yield path


LEAVES = list(_commands(cli))


def test_the_commands_are_these() -> None:
    assert [" ".join(leaf) for leaf in LEAVES] == [
        "auth login", "auth logout", "auth status", "auth token",
        "org create", "org list", "org members add", "org members list", "org members remove", "org members set-role",
        "org settings", "org show", "org use",
        "api-key create", "api-key delete", "api-key deliveries", "api-key disable", "api-key enable", "api-key extend",
        "api-key list", "api-key rename", "api-key rotate", "api-key show", "api-key update", "api-key usage",
        "tenant create", "tenant credentials clear", "tenant credentials set", "tenant delete", "tenant list",
        "tenant show", "tenant use",
        "device list", "device register", "device unregister",
        "push bulk", "push list", "push send", "push show",
        "media confirm", "media delete", "media download", "media images", "media list", "media show", "media upload",
        "media url",
        "audit list", "open",
        "config set", "config show", "completion",
    ]  # fmt: skip


@pytest.mark.parametrize("leaf", LEAVES, ids=" ".join)
def test_every_command_has_help_and_takes_json(mushu: Mushu, leaf: tuple[str, ...]) -> None:
    ran = mushu(*leaf, "--help").ok()
    assert f"Usage: mushu {' '.join(leaf)}" in ran.stdout
    assert leaf == ("completion",) or "--json" in ran.stdout
    assert "..." not in ran.stdout.replace("[ARGS]...", "")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["api-key", "create", "--help"], ["completion", "bash"]], ids=" ".join
)
def test_nothing_heavy_is_loaded_for_help_or_completion(arguments: list[str]) -> None:
    assert _loaded(arguments, HEAVY) == "[]"


def test_no_plugin_is_loaded_for_a_command_that_delivers_nothing(asking: Stub) -> None:
    asking.tell("GET", "/orgs", {"orgs": []})
    assert _loaded(["org", "list"], ("mushu_dotenv", "dotenv", "mushu.destination", "pydantic")) == "[]"


def _loaded(arguments: list[str], modules: tuple[str, ...]) -> str:
    """Run a command in a process of its own, and return which of these modules it loaded."""
    script = (
        "import sys\nfrom mushu.cli.main import run\n"
        f"code = run({arguments!r})\nprint([m for m in {modules!r} if m in sys.modules])\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_help_and_the_package_are_quick_to_load() -> None:
    """Processor time, the best of five, so that a busy machine does not fail it."""
    assert _seconds("import mushu") - _seconds("pass") < 0.05
    assert _seconds("from mushu.cli.main import run; run(['--help'])") < 0.15 * _slowness()


def _seconds(script: str) -> float:
    def once() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=_uncovered())
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    return min(once() for _ in range(5))


def _uncovered() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def _slowness() -> float:
    """How much slower this machine starts Python than the 20 ms of the one that the limit was set on; at least 1."""
    return max(1.0, _seconds("pass") / 0.02)


def test_the_version_is_the_package_s(mushu: Mushu) -> None:
    from importlib.metadata import version

    assert mushu("--version").stdout == f"mushu {version('mushu')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(apart: Mushu, shell: str) -> None:
    assert "_MUSHU_COMPLETE" in apart("completion", shell).ok().stdout


@pytest.mark.parametrize(
    ("typed", "completed"), [("mushu api-key cr", "create"), ("mushu api-key create --sc", "--scopes")]
)
def test_completion_completes_commands_and_options(apart: Mushu, typed: str, completed: str) -> None:
    asked = {"_MUSHU_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    assert apart(environ=asked).stdout == f"plain,{completed}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["org", "nonsense"], ["org", "list", "--nonsense"], ["org", "create"]]
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_wrong_on_stderr(mushu: Mushu, arguments: list[str]) -> None:
    mushu(*arguments).fails("--help` says more.", "Error: ", code=2)


@pytest.mark.parametrize("group", [[], ["api-key"], ["org", "members"]], ids=str)
def test_a_group_alone_shows_its_help(mushu: Mushu, group: list[str]) -> None:
    ran = mushu(*group).fails(code=2)
    assert ran.stderr.startswith("Usage: mushu")
    assert "\n\nCommands:\n" in ran.stderr


def test_a_choice_that_is_missing_is_told_in_one_line(mushu: Mushu) -> None:
    ran = mushu("completion").fails(code=2)
    assert ran.stderr.splitlines()[-1] == "Error: Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"


def test_a_fault_of_ours_is_told_without_what_it_was_about_and_an_interruption_ends_with_130(
    mushu: Mushu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise KeyError(TOKEN)

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mushu.cli.config.read", fail)
    ran = mushu("auth", "token").fails()
    assert ran.stderr.startswith("Error: mushu failed in a way it should not (KeyError in fail, line ")
    assert TOKEN not in ran.stderr
    monkeypatch.setattr("mushu.cli.config.read", interrupt)
    mushu("auth", "token").fails(code=130)


def test_main_exits_with_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["nonsense"])
    assert caught.value.code == 2


def test_an_answer_that_nobody_reads_is_no_traceback(asking: Stub) -> None:
    asking.tell("GET", "/orgs", {"orgs": [{"org_id": ORG, "name": "n" * 99}] * 2_000})
    command = f"{sys.executable} -m mushu.cli.main org list --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[\n", "")


@pytest.mark.parametrize("arguments", [["org", "show", ORG], ["org", "list"]], ids=" ".join)
def test_a_terminal_without_the_letters_gets_them_escaped(asking: Stub, apart: Mushu, arguments: list[str]) -> None:
    asking.tell("GET", f"/orgs/{ORG}", {"org_id": ORG, "name": "漢字"})
    asking.tell("GET", "/orgs", {"orgs": [{"org_id": ORG, "name": "漢字"}]})
    ran = apart(*arguments, environ={"PYTHONIOENCODING": "latin-1"}).ok()
    assert ran.stdout.isascii()
    if arguments[1] == "show":
        assert ran.json["name"] == "漢字"


def test_wide_letters_keep_the_columns_in_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(
        (output.Column("a", "A"), output.Column("b", "B")), [{"a": "漢字", "b": 1}, {"a": "e\u0301", "b": 2}]
    )
    assert capsys.readouterr().out == "A     B\n漢字  1\ne\u0301     2\n"


class Terminal:
    """A command at a terminal: what is typed, and what is seen."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self.main, worker = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mushu.cli.main", *arguments],
            stdin=worker, stdout=worker, stderr=worker, start_new_session=True,
            env={**os.environ, "TERM": "xterm", **environ},
        )  # fmt: skip
        os.close(worker)
        self.seen = ""

    def until(self, text: str = "\0") -> str:
        """Read until `text` is seen, or to the end."""
        end = time.monotonic() + 60
        while text not in self.seen and time.monotonic() < end:
            try:
                data = os.read(self.main, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            self.seen += data.decode()
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def end(self) -> int:
        self.until()
        os.close(self.main)
        return self.process.wait(30)


def test_a_terminal_sees_colours_unless_it_asks_for_none_and_a_pipe_sees_none(asking: Stub, apart: Mushu) -> None:
    asking.tell("GET", "/orgs", {"orgs": []})
    for environ, coloured in [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]:
        terminal = Terminal("org", "list", **environ)
        assert terminal.end() == 0
        assert ("\x1b[1mORG_ID" in terminal.seen) is coloured
        terminal = Terminal("org", "show", "..", **environ)
        assert terminal.end() == 1
        assert ("\x1b[31mError: \x1b[0m" in terminal.seen) is coloured
    ran = apart("org", "list")
    assert "\x1b" not in ran.stdout + ran.stderr


def test_a_deletion_at_a_terminal_is_asked_about(asking: Stub) -> None:
    path = f"/orgs/{ORG}/api-keys/key_1"
    asking.tell("DELETE", path, {"deleted": True})
    for typed, code, deleted in [("n\n", 130, 0), ("y\n", 0, 1)]:
        terminal = Terminal("api-key", "delete", "key_1", "--org", ORG)
        assert "Delete key_1 for good? Requests with it fail at once. [y/N]" in terminal.until("[y/N]")
        terminal.type(typed)
        assert terminal.end() == code
        assert len(asking.asked_for("DELETE", path)) == deleted
    assert Terminal("api-key", "delete", "key_1", "--org", ORG, "--yes").end() == 0
    assert len(asking.asked_for("DELETE", path)) == 2


def test_a_terminal_sees_a_spinner_while_it_waits_and_a_pipe_none(stub: Stub, apart: Mushu) -> None:
    pending = Told({"error": "authorization_pending"}, 400)
    invitation = {
        "device_code": "d", "user_code": "BCDF-GHJK", "verification_uri": f"{stub.url}/a", "interval": 1,
        "expires_in": 60,
    }  # fmt: skip
    stub.tell("POST", "/auth/device/code", invitation)
    stub.tell("POST", "/auth/token", pending, login_answer(), pending, login_answer())
    terminal = Terminal("auth", "login", "--url", stub.url, "--no-browser")
    assert terminal.end() == 0
    assert "\r/ Waiting for you to confirm the code" in terminal.seen
    assert "\x1b[1mBCDF-GHJK" in terminal.seen
    ran = apart("auth", "login", "--url", stub.url, "--no-browser").ok()
    assert "Waiting" not in ran.stdout + ran.stderr


def test_a_password_is_asked_for_at_a_terminal_and_not_shown(stub: Stub) -> None:
    stub.tell("POST", "/auth/login", login_answer())
    terminal = Terminal("auth", "login", "--url", stub.url, "--email", "a@b.c")
    terminal.until(f"Password of a@b.c at {stub.url}: ")
    time.sleep(0.2)
    terminal.type("hunter2\n")
    assert terminal.end() == 0
    assert "hunter2" not in terminal.seen
    assert stub.asked[-1].json["password"] == "hunter2"


def test_a_token_and_a_key_that_are_printed_at_a_terminal_come_with_a_warning(asking: Stub) -> None:
    terminal = Terminal("auth", "token")
    assert terminal.end() == 0
    assert "This token is as good as your login" in terminal.seen
    asking.tell("POST", f"/orgs/{ORG}/api-keys", {"key_id": "key_1", "key": "msk_live_x"})
    terminal = Terminal("api-key", "create", "--name", "n", "--org", ORG)
    assert terminal.end() == 0
    assert "The key is shown this one time." in terminal.seen


def test_nothing_of_the_command_names_the_server_flask_or_a_plugin() -> None:
    for module in (Path(main.__file__).parent).rglob("*.py"):
        text = module.read_text()
        for name in ("mushu.server", "mushu_dotenv", "mushu_vault", "import flask", "sqlalchemy"):
            assert name not in text, f"{module.name} names {name}"
