"""The pictures of docs/dashboard.md, of a server that is thrown away: `script/screenshots`.

What they show is made by `seed.py`. The one key that is to be seen in them is deleted before its picture is written.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from PIL import Image

from script.pictures.seed import ADMIN, PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT: Final = Path(__file__).resolve().parents[2]
PICTURES: Final = ROOT / "docs" / "images"
#: Colours of one picture at most, and how far they are from each other.
_COLOURS, _APART = 48, 12
_WIDTH: Final = 1440


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=PICTURES, metavar="FOLDER", help="write somewhere else")
    into = parser.parse_args().into.resolve()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("script/screenshots: it needs Chromium. Install it (Debian: apt install chromium) and run it again.")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _served(Path(folder)) as address:
        _take_all(chromium, address, into)
    sizes = {file.name: file.stat().st_size / 1000 for file in sorted(into.glob("*.png"))}
    for name, size in sizes.items():
        print(f"{size:5.1f} KB  {name}")
    print(f"{sum(sizes.values()):5.1f} KB  in all, in {into}")


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Fill a new server, serve it on loopback, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSHU_")}
    told = {"MUSHU_INSTANCE_PATH": str(folder / "instance"), "MUSHU_PORT": str(port), "PYTHONSAFEPATH": "1"}
    seed = [sys.executable, "-m", "script.pictures.seed", str(folder / "srv")]
    subprocess.run(seed, env=kept | told | {"PYTHONPATH": str(ROOT)}, cwd=folder, check=True)
    with (folder / "output").open("w") as output:
        up = [sys.executable, "-m", "mushu.server.up"]
        server = subprocess.Popen(up, env=kept | told, cwd=folder, stdout=output, stderr=output)
    try:
        while not _is_up(port):
            if server.poll() is not None:
                sys.exit(f"script/screenshots: the server ended:\n{(folder / 'output').read_text()}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _is_up(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == HTTPStatus.OK
        except OSError:
            return False


def _take_all(chromium: str, address: str, into: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        with _signed_in(browser, address, "light") as page:
            _take(page, into / "home.png")
            page.get_by_role("link", name="Keys", exact=True).click()
            _take(page, into / "keys.png", 1000)
            page.get_by_role("link", name="billing-worker").click()
            _take(page, into / "key.png", 1080)
            page.get_by_role("link", name="Keys", exact=True).first.click()
            page.get_by_role("row").filter(has_text="this one ends").get_by_role("link", name="Watch it").click()
            _take(page, into / "rotation.png")
            page.get_by_role("link", name="Destinations").click()
            _take(page, into / "destinations.png")
            page.get_by_role("link", name="Home", exact=True).click()
            page.get_by_role("link", name="Create a key").click()
            page.get_by_label("Name").fill("invoice-mailer")
            page.get_by_label("mailer-env").check()
            _take(page, into / "create.png", 900)
        with _signed_in(browser, address, "dark") as page:
            page.get_by_role("link", name="Create a key").click()
            page.get_by_label("Name").fill("invoice-mailer")
            page.get_by_label("Show it once").check()
            page.get_by_role("button", name="Create the key").click()
            page.set_viewport_size({"width": 760, "height": 640})
            shown = page.screenshot(full_page=True)
            page.get_by_role("button", name="Delete this key").click()
            page.get_by_text("invoice-mailer is deleted.").wait_for()
            _write(shown, into / "shown-once-dark.png")
            page.set_viewport_size({"width": 390, "height": 844})
            _write(page.screenshot(), into / "keys-phone-dark.png")
        browser.close()


@contextmanager
def _signed_in(browser: "Browser", address: str, scheme: Literal["dark", "light"]) -> Iterator["Page"]:
    context = browser.new_context(
        base_url=address, viewport={"width": _WIDTH, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto("/")
    page.get_by_label("E-mail").fill(ADMIN)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/**")
    yield page
    context.close()


def _take(page: "Page", file: Path, height: int | None = None) -> None:
    """Take a page, as a whole where no height is said."""
    page.locator("h1").wait_for()
    whole = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": _WIDTH, "height": height or whole})
    _write(page.screenshot(), file)
    page.set_viewport_size({"width": _WIDTH, "height": 800})


def _write(png: bytes, file: Path) -> None:
    """Write a picture with few colours: a fifth of the bytes, and as good to read."""
    with Image.open(BytesIO(png)) as picture:
        whole = picture.convert("RGB")
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in _colours_of(whole) for part in colour])
    whole.quantize(palette=palette, dither=Image.Dither.NONE).save(file, optimize=True)


def _colours_of(picture: Image.Image) -> list[tuple[int, int, int]]:
    """Return the colours that cover most of a picture, without those that hardly differ from one before."""
    chosen: list[tuple[int, int, int]] = []
    counted: Any = picture.getcolors(picture.width * picture.height)
    for _, colour in sorted(counted, reverse=True):
        if all(sum(abs(one - other) for one, other in zip(colour, known, strict=True)) > _APART for known in chosen):
            chosen.append(colour)
        if len(chosen) == _COLOURS:
            break
    return chosen


if __name__ == "__main__":
    main()
