"""The wheel that this server offers: the code that runs here, packed by Python alone, without a network or build tools.

A server that was installed from a wheel packs what that wheel brought (RECORD). A checkout packs what setup.cfg names.
The same files give the same bytes: sorted, uncompressed, without times (the binary distribution format, PEP 427).
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from mushu.server.instance import ROOT

PROJECT: Final = "mushu"
_WHEEL: Final = b"Wheel-Version: 1.0\nGenerator: mushu\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n"
#: The oldest time that a zip file can hold: the files' own would differ from one copy to the next.
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ClientWheel:
    """A wheel in memory: what a request gets cannot differ from what was read at the start."""

    name: str
    content: bytes
    sha256: str
    requires_python: str

    def address(self, base_url: str) -> str:
        """Return where it is offered, with the hash that pip checks."""
        return f"{base_url}/client/{self.name}#sha256={self.sha256}"


@cache
def client_wheel() -> ClientWheel | None:
    """Return the wheel of the code of this process, read once; None where the installation does not list its files.

    Called before the first fork, it is the same in every worker, whatever is done to the files later.
    """
    return pack(distribution(PROJECT), ROOT / "setup.cfg")


def pack(installed: Distribution, setup: Path) -> ClientWheel | None:
    """Return a wheel of an installation, or of the checkout that it leads to where `setup` exists."""
    try:
        code = dict(_files_of_checkout(setup) if setup.is_file() else _files_of_installation(installed))
    except FileNotFoundError:  # half an installation
        code = {}
    if f"{PROJECT}/__init__.py" not in code:
        return None
    stem = f"{PROJECT}-{installed.version}"
    folder = f"{stem}.dist-info"
    entries = {
        f"{folder}/METADATA": (installed.read_text("METADATA") or installed.read_text("PKG-INFO") or "").encode(),
        f"{folder}/WHEEL": _WHEEL,
        f"{folder}/entry_points.txt": (installed.read_text("entry_points.txt") or "").encode(),
        f"{folder}/licenses/LICENSE": code.pop("LICENSE", b""),
    }
    files = {**dict(sorted(code.items())), **entries}
    record = "".join(f"{name},sha256={_hash(content)},{len(content)}\n" for name, content in files.items())
    files[f"{folder}/RECORD"] = f"{record}{folder}/RECORD,,\n".encode()
    name, content, needed = f"{stem}-py3-none-any.whl", _zipped(files), installed.metadata["Requires-Python"] or ""
    return ClientWheel(name, content, hashlib.sha256(content).hexdigest(), needed)


def _files_of_installation(installed: Distribution) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of what the wheel brought, without what pip made here."""
    for file in installed.files or ():
        folder, _, rest = str(file).partition("/")
        if folder.endswith(".dist-info"):
            if rest == "licenses/LICENSE":
                yield "LICENSE", file.read_binary()
        elif folder != ".." and file.suffix != ".pyc":
            yield str(file), file.read_binary()


def _files_of_checkout(setup: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of what setuptools would take, by the same table."""
    config = ConfigParser(interpolation=None)
    config.read(setup, "utf-8")
    options, data = config["options"], config["options.package_data"]
    folders = dict(line.split(" = ") for line in options["package_dir"].strip().splitlines())
    for package in options["packages"].split():
        folder = setup.parent / folders.get(package, package.replace(".", "/"))
        for pattern in ("*.py", data["*"], *data.get(package, "").replace(",", " ").split()):
            for path in folder.glob(pattern):
                yield f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}", path.read_bytes()
    yield "LICENSE", (setup.parent / "LICENSE").read_bytes()


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _zipped(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.external_attr = 0o100644 << 16  # a file that all may read
            entry.create_system = 3  # Unix, whatever this is: the bytes must not tell
            archive.writestr(entry, content)
    return memory.getvalue()
