"""docs/cli.md has every command, and its lines run in this process, too (tests/e2e/test_walk.py types them)."""

import base64
import re
import shlex
from pathlib import Path

from tests.cli.conftest import Mushu, Served
from tests.cli.test_main import LEAVES
from tests.ran import Ran

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
SHOWN = [line.strip() for line in re.findall(r"^    (mushu .*)$", PAGE.read_text(), re.MULTILINE)]
#: A picture of four pixels.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGM4IWcDRAwQCgAh9gSJHoU67gAAAABJRU5ErkJggg=="
)
#: Needs a browser, and is run in tests/e2e/test_walk.py.
ELSEWHERE = ("mushu auth login --url https://keys.example.com",)


def test_every_command_is_on_the_page() -> None:
    page = PAGE.read_text()
    missing = [" ".join(leaf) for leaf in LEAVES if f"mushu {' '.join(leaf)}" not in page]
    assert missing == []


def test_every_command_line_on_the_page_runs_in_order(served: Served, mushu: Mushu, apple_key: Path) -> None:
    run_the_page(served, mushu, apple_key)


def run_the_page(served: Served, mushu: Mushu, apple_key: Path, *, left_out: str = "$^") -> None:
    """Run each line, without options that match."""
    served.world.user("ada@example.com", with_password=True)
    bob = served.world.user("bob@example.com")
    given: dict[str, str | None] = {
        "USER_ID": bob.id,
        "http://127.0.0.1:8000": served.url,
        "AuthKey.p8": str(apple_key),
    }
    given |= {"password.txt": None, "<": None}
    Path("photo.png").write_bytes(PICTURE)
    for line in SHOWN:
        if line in ELSEWHERE:
            continue
        possible = re.sub(left_out, "", line.removeprefix("mushu "))
        words = [given.get(word, word) for word in shlex.split(possible)]
        arguments = [word for word in words if word is not None]
        ran = mushu(*arguments, stdin=f"{served.world.password}\n")
        assert ran.code == 0, f"{line}: {ran.stderr}"
        given |= _made(arguments, ran)
    assert len(SHOWN) > 50


def _made(arguments: list[str], ran: Ran) -> dict[str, str | None]:
    """What later lines may name: the ids that this one answered."""
    match arguments[:2]:
        case ["api-key", "create" | "rotate"]:
            return {"KEY_ID": ran.json["key_id"], "OLD_ID": ran.json.get("replaces")}
        case ["tenant", "create"]:
            return {"TENANT_ID": ran.json["tenant_id"]}
        case ["push", "send"]:
            return {"MESSAGE_ID": ran.json["message_id"]}
        case ["media", "upload"]:
            return {"MEDIA_ID": ran.stdout.split()[0]}
    return {}
