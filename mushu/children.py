"""What a program that this process starts may know: nothing that opens something. Standard library only.

A child inherits the environment of its parent, and passes it on to children of its own. In it may stand the key that an
application is to read, the password of a database, or the token of a destination. A program that needs none of them
gets an environment without them: whoever starts one takes it from `child_environment`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.process import KEY_LOG_VARIABLE

#: Settings of the server and of its destinations, and the keys of clients.
_OURS: Final = "MUSHU_"
#: Names under which programs are told a secret, such as VAULT_TOKEN, AWS_SECRET_ACCESS_KEY, PGPASSWORD, DEPLOY_KEY.
_SECRET_NAME: Final = re.compile(
    r"token|secret|passw|passphrase|credential|private|apikey|_(?:key|pwd|pat|pass)$", re.IGNORECASE
)
#: An address with a password in it, such as DATABASE_URL and HTTPS_PROXY have.
_PASSWORD_IN_ADDRESS: Final = re.compile(r"://[^/?#\s:@]*:[^/?#\s@]+@")


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for a child: without secrets, and with a PATH that no current folder takes part in.

    What is a secret shows in the value, where it has the form of one of our credentials or is an address with a
    password, or in the name.
    """
    kept = {name: value for name, value in environ.items() if not _is_secret(name, value)}
    if "PATH" in kept:
        kept["PATH"] = os.pathsep.join(folder for folder in kept["PATH"].split(os.pathsep) if os.path.isabs(folder))  # noqa: PTH117
    return kept


@contextmanager
def clean_environment() -> Iterator[None]:
    """Give this process the environment of a child for a while: for libraries that start one and take none."""
    whole = dict(os.environ)
    _become(child_environment(whole))
    try:
        yield
    finally:
        _become(whole)


def _become(environ: Mapping[str, str]) -> None:
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    os.environ.update(environ)


def _is_secret(name: str, value: str) -> bool:
    return (
        name.startswith(_OURS)
        or name == KEY_LOG_VARIABLE
        or _SECRET_NAME.search(name) is not None
        or CREDENTIAL_PATTERN.search(value) is not None
        or _PASSWORD_IN_ADDRESS.search(value) is not None
    )
