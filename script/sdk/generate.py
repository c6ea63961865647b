"""The Python SDK from the application's routes: `script/generate-sdk`. Why so: docs/decisions/0010-sdk.md."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from mushu.process import child_environment
from script.sdk.split import HEADINGS, Document, split

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
_RUFF: Final = ("--isolated", "--quiet", "--no-cache", "--target-version", "py311", "--line-length", "120")
_PACKAGE_LIST: Final = re.compile(r"(?<=^packages =\n)(?: {4}\S+\n)+", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/generate-sdk", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT, metavar="FOLDER", help="write somewhere else, to compare")
    into = parser.parse_args().into.resolve()
    for service, document in split(server_document()).items():
        source = into / "docs" / "openapi" / f"{service}.json"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        write_package(source, into / "mushu" / service)
    if into == ROOT:
        list_packages(ROOT / "setup.cfg")


def server_document() -> Document:
    """Return the OpenAPI document of the application, made on an instance that is thrown away."""
    from mushu.server.app import create_app
    from mushu.server.config import Settings
    from mushu.server.core import Core

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Core(Settings(instance_path=Path(folder) / "instance", access_log="off")))
        document: Document = app.test_client().get("/openapi.json").get_json()
    return document


def write_package(source: Path, package: Path) -> None:
    """Write the package of one document, in the place of an older one.

    Raises:
        CalledProcessError: the generator or ruff failed, or the generator left something out; it has said what.
    """
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / package.name
        _run(
            "openapi-python-client", "generate", "--path", source, "--output-path", fresh, "--meta", "none",
            "--config", HERE / "config.yaml", "--custom-template-path", HERE / "templates", "--fail-on-warning",
        )  # fmt: skip
        # Not as a hook of the generator, which would find the settings of whatever folder it works in.
        _run("ruff", "check", "--fix-only", "--select", "F,I,UP", *_RUFF, fresh)
        _run("ruff", "format", *_RUFF, fresh)
        shutil.rmtree(package, ignore_errors=True)
        package.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(fresh, package)


def list_packages(settings: Path) -> None:
    """Write the names of the generated packages where setup.cfg lists packages, and no other line of it."""
    ours = tuple(f"mushu.{service}." for service in HEADINGS)
    inits = [init for service in HEADINGS for init in (ROOT / "mushu" / service).rglob("__init__.py")]
    found = {".".join(init.parent.relative_to(ROOT).parts) for init in inits}
    text = settings.read_text()
    block = _PACKAGE_LIST.search(text)
    if block is None:
        raise SystemExit(f"{settings.name} lists no packages.")
    listed = {name for name in block.group().split() if not f"{name}.".startswith(ours)}
    names = "".join(f"    {name}\n" for name in sorted(listed | found))
    if names != block.group():
        settings.write_text(text[: block.start()] + names + text[block.end() :])


def _run(program: str, *arguments: object) -> None:
    """Run a program of this environment; it is quiet unless it fails."""
    path = Path(sysconfig.get_path("scripts")) / program
    done = subprocess.run(
        [str(path), *map(str, arguments)],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        done.check_returncode()


if __name__ == "__main__":
    main()
