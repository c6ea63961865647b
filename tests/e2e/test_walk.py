"""Every page of the documentation, walked from its first to its last command as a reader types them.

A page has a HOME, an environment and a folder that are empty but for what its reader brings (`BRINGS`), with a clone
beside. Its named blocks become files; all others run in one shell, and each command must succeed. What a page shows
after a command is compared with what came. Addresses and absolute paths are those of this test (`Walk.here`). A word
such as KEY_ID is what the last command that made such a thing has answered (`LEARNED`).
"""

import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.e2e.conftest import ROOT, Server, Start, clean_environment, leave_out
from tests.e2e.pages import PAGES, REASONS, blocks_of
from tests.e2e.walking import Walk
from tests.vault import bao

PASSWORD: Final = "correct horse battery"
#: Where a reader of a page is: in the clone with the server's commands, unless they are at a machine of their own.
AT_A_MACHINE_OF_THEIR_OWN: Final = ("docs/cli.md", "docs/plugins.md")
_KEY: Final = ec.generate_private_key(ec.SECP256R1())
_APPLE_KEY: Final = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
_PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGM4IWcDRAwQCgAh9gSJHoU67gAAAABJRU5ErkJggg=="
)
#: The files that a reader has who comes to a page that names them.
FILES: Final = {
    "AuthKey.p8": _APPLE_KEY,
    "AuthKey_ABC1234567.p8": _APPLE_KEY,
    "a.png": _PICTURE,
    "password.txt": f"{PASSWORD}\n".encode(),
    "photo.png": _PICTURE,
}
#: What a reader has who comes to a page, as the commands that made it.
BRINGS: Final = {
    "docs/rotation.md": """mkdir -p /srv/mine
mushu auth login --url http://127.0.0.1:8000 --email owner@localhost --password-stdin <<<'correct horse battery'
flask keys create --org default --name mine --to env:/srv/mine/.env""",
    "docs/destinations/named.md": "mkdir -p /root/; umask 077; echo a-token >/root/token",
    "docs/sealing.md": "flask destinations add billing vault:secret/apps/billing#KEY --org default --ask token",
}
#: Pages whose reader has a server of their own: what they do there would be noticed by readers of others.
ALONE: Final = ("docs/destinations/named.md", "docs/sealing.md", "docs/vault.md")
#: Runs a command on a terminal of its own, where the lines of standard input are typed.
TERMINAL: Final = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
#: Installs a package as pip does, by what its pyproject.toml says.
INSTALL: Final = """
import pathlib, sys, sysconfig, tomllib
folder = pathlib.Path(sys.argv[1])
said, packages = tomllib.loads((folder / "pyproject.toml").read_text()), pathlib.Path(sysconfig.get_path("purelib"))
name, version = said["project"]["name"], said["project"]["version"]
for module in said["tool"]["setuptools"]["py-modules"]:
    (packages / f"{module}.py").write_text((folder / f"{module}.py").read_text())
metadata = packages / f"{name.replace('-', '_')}-{version}.dist-info"
metadata.mkdir(exist_ok=True)
(metadata / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
groups = [[f"[{group}]", *map(" = ".join, points.items())] for group, points in said["project"]["entry-points"].items()]
(metadata / "entry_points.txt").write_text("\\n".join(sum(groups, [])))
"""
#: Stands for the browser of a person who signs in and approves what is asked.
BROWSER: Final = r"""
import re, sys, httpx
page = httpx.Client(follow_redirects=True)
def fill(answer, **typed):
    fields = dict(re.findall("<input[^>]* name=.(\\w+).[^>]* value=\"([^\"]*)", answer.text))
    action = re.search("<form[^>]* action=\"([^\"]*)", answer.text)
    return page.post(answer.url.join(action[1] if action else ""), data=fields | typed)
fill(fill(fill(page.get(sys.argv[1]), email="owner@localhost", password=sys.argv[2])), decision="approve")
"""


@dataclass(frozen=True)
class Machine:
    """What all pages share: a server, and an environment into which pip has installed what it offers."""

    server: Server
    developer: Path
    here: dict[str, str]
    learned: dict[str, str]


@pytest.fixture(scope="module")
def machine(start_once: Start, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    server = start_once(MUSHU_WORKERS="1").wait_until_up()
    made = [server.flask("users", "create", "--email", f"{name}@example.com").stdout for name in ("ada", "bob")]
    for user in ("owner@localhost", "ada@example.com"):
        server.flask("users", "set-password", user, "--password-stdin", stdin=f"{PASSWORD}\n")
    ((address, path, digest),) = re.findall(r"pip install '(\S+)(/client/\S+=)(\w+)'", server.output.read_text())
    developer = tmp_path_factory.mktemp("developer")
    venv.create(developer)
    (packages,) = developer.glob("lib/python*/site-packages")
    # The libraries are those of this session: the network is closed. A path file within that folder is not read.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    programs = developer / "bin"
    for name, command in {
        "pip": f"'{sys.executable}' -m pip --python '{programs}/python' \"$@\"",
        "flask": f"'{programs}/python' -P -m flask \"$@\"",
        "pytest": f"'{programs}/python' -m pytest -p no:cacheprovider \"$@\"",
        "vault": f"'{bao.binary()}' \"$@\"",
        "pip-by-hand": f"'{programs}/python' '{developer}/install.py' \"$@\"",
        "at-terminal": f"'{sys.executable}' -c '{TERMINAL}' \"$@\"",
        "browse": f"'{sys.executable}' -c '{BROWSER}' \"$1\" '{PASSWORD}'",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (programs / name).chmod(0o755)
    (developer / "install.py").write_text(INSTALL)
    (developer / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    subprocess.run(
        [programs / "pip", "install", "--quiet", "--no-deps", "--no-compile", f"{address}{path}{digest}"], check=True
    )
    here = {"https://keys.example.com": address, "http://127.0.0.1:8000": address, "sha256=…": f"sha256={digest}"}
    return Machine(server, developer, here, {"USER_ID": json.loads(made[1])["user_id"]})


@pytest.fixture
def empty_vault(tmp_path: Path) -> Iterator[bao.Address]:
    """A real OpenBao where nothing is mounted, as one in production begins."""
    if bao.binary() is None:
        leave_out("no package brings OpenBao for this machine")
    with bao.running(tmp_path) as address, httpx.Client(trust_env=False) as client:
        gone = client.delete(f"{address.url}/v1/sys/mounts/secret", headers={"X-Vault-Token": address.root_token})
        assert gone.is_success
        yield address


@pytest.fixture
def walk(machine: Machine, page: str, request: pytest.FixtureRequest) -> Iterator[Walk]:
    """A shell where the reader of a page is, with what they bring. What they make stays: other readers look for it."""
    base = request.getfixturevalue("tmp_path_factory").mktemp("page")
    home, clone, empty, instance = (base / name for name in ("home", "mushu", "empty", "instance"))
    for folder in (home, clone, empty):
        folder.mkdir(mode=0o700)
    if page in ALONE:
        shutil.copytree(machine.server.instance, instance, ignore=shutil.ignore_patterns("mushu.sqlite3*"))
        copied = machine.server.instance / "mushu.sqlite3", instance / "mushu.sqlite3"
        with closing(sqlite3.connect(copied[0])) as source, closing(sqlite3.connect(copied[1])) as target:
            source.backup(target)
        copied[1].chmod(0o600)
    else:
        instance = machine.server.instance
    for name in ("script", "deploy", "wsgi.py", "setup.cfg", "pyproject.toml", ".gitignore"):
        (clone / name).symlink_to(ROOT / name)
    (clone / "instance").symlink_to(instance)
    (clone / ".venv").symlink_to(machine.developer)
    place = empty if page in AT_A_MACHINE_OF_THEIR_OWN else clone
    text = "".join(block.text for block in blocks_of(page))
    for program in ("curl", "jq", "node", "sqlite3"):
        if f"{program} " in text and shutil.which(program) is None:
            leave_out(f"{program} is not installed")
    for name, content in FILES.items():
        if name in text:
            (place / name).write_bytes(content)
            (place / name).chmod(0o600)
    here = machine.here | {path: f"{base}{path}" for path in ("/srv/", "/backup", "/root/")}
    variables = dict.fromkeys(("PIP_NO_DEPS", "PIP_FORCE_REINSTALL", "PIP_NO_COMPILE"), "1") | {
        "PATH": f"{machine.developer}/bin:{os.environ['PATH']}",
        "BROWSER": f"{machine.developer}/bin/browse",
        "CURL_HOME": str(machine.developer),
        "PIP_NO_BUILD_ISOLATION": "0",
        "MUSHU_INSTANCE_PATH": str(instance),
    }
    if page == "docs/vault.md":
        vault = request.getfixturevalue("empty_vault")
        here |= dict.fromkeys(("https://vault.example:8200", "https://vault.eu.example:8200"), vault.url)
        variables["ROOT_TOKEN"] = vault.root_token
    with Walk(place, clean_environment(home) | variables, here, {**machine.learned}) as shell:
        yield shell


@pytest.mark.fault
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)])
def test_every_command_of_a_page_runs_as_it_is_printed(page: str, walk: Walk) -> None:
    walk.run(BRINGS.get(page, "true"))
    for block in blocks_of(page):
        try:
            walk.follow(block)
        except AssertionError as error:
            raise AssertionError(f"{page}, line {block.line}: {error}") from None


def test_each_reason_not_to_run_a_block_is_given_somewhere() -> None:
    marks = {block.mark for page in PAGES for block in blocks_of(page) if block.mark}
    assert marks == REASONS.keys()
