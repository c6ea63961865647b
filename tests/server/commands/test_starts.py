"""What a command loads, by the names of modules; `bench/startup.py` measures what it costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mushu.server.config import Settings
from tests.server.commands.conftest import Run

ROOT = Path(__file__).parents[3]
#: What only the web, a delivery, a password, housekeeping, another database or a migration needs, by module.
HEAVY = (
    "pydantic", "flask_openapi", "flask_login", "flask_wtf", "argon2", "granian", "cryptography", "hvac", "httpx",
    "mushu_dotenv", "mushu.server.web", "mushu.server.app", "mushu.server.operation", "alembic", "flask_migrate",
    "sqlalchemy.dialects.postgresql", "mushu.server.resources.media.uploading",
    "mushu.server.resources.notifications.outcomes",
)  # fmt: skip
#: What a server on SQLite needs later, or never.
NOT_AT_THE_START = (
    "alembic", "flask_migrate", "mako", "pygments", "rich", "httpx", "httpcore", "h11", "h2", "anyio", "PIL", "boto3",
    "hvac", "cryptography", "limits", "redis", "psycopg", "sqlalchemy.dialects.postgresql", "flask_openapi",
)  # fmt: skip
#: What any command needs that does something.
OF_ANY = ("sqlalchemy", "flask_sqlalchemy", "mushu.server.core", "mushu.server.commands")
LOADED = """
import sys, json
{imported}
sys.argv = [{program!r}, *{arguments!r}]
try:
    main()
except SystemExit as stop:
    print(json.dumps([stop.code, [name for name in {unwanted!r} if name in sys.modules]]), file=sys.stderr)
"""


def loaded(imported: str, program: str, arguments: list[str], unwanted: tuple[str, ...]) -> object:
    """Return how a command ended, and which of the unwanted modules it loaded."""
    script = LOADED.format(imported=imported, program=program, arguments=arguments, unwanted=unwanted)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("arguments", [["keys", "--help"], ["keys", "list", "--org", "acme"], ["orgs", "list"]])
def test_help_and_lists_load_nothing_heavy(run: Run, acme: str, arguments: list[str]) -> None:
    assert loaded("from flask.cli import main", "flask", arguments, HEAVY) == [0, []]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["keyz"]])
def test_the_list_of_all_commands_loads_none_of_them(arguments: list[str]) -> None:
    code = 2 if arguments == ["keyz"] else 0
    assert loaded("from flask.cli import main", "flask", arguments, HEAVY + OF_ANY) == [code, []]
    assert loaded("from mushu.server.main import main", "mushu-server", arguments, HEAVY + OF_ANY) == [code, []]


@pytest.mark.fault
@pytest.mark.parametrize("arguments", [["keys", "--help"], ["keys", "list", "--org", "acme"]])
def test_the_safe_door_loads_nothing_heavy(run: Run, acme: str, arguments: list[str]) -> None:
    heavy = (*HEAVY, "mushu.server.up", "mushu.server.commands.users")
    assert loaded("from mushu.server.main import main", "mushu-server", arguments, heavy) == [0, []]


def test_a_server_loads_nothing_before_it_is_needed(settings: Settings) -> None:
    """Not what notifies, migrates, describes the API, or is for another database: until it listens, each costs time."""
    script = f"""
import sys
from pathlib import Path
from mushu.server.core import Core
from mushu.server.up import Settings, create_app
app = create_app(Core(Settings(instance_path=Path({str(settings.instance_path)!r}))))
print(app.test_client().get("/health").status_code, [name for name in {NOT_AT_THE_START!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout == "200 []\n", done.stderr
