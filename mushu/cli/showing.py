"""A key that is shown, this one time."""

import sys
from typing import Any, Final

from mushu.cli.faults import Unreachable, misunderstood
from mushu.cli.keyring import Environment, Keyring
from mushu.cli.output import note, print_json
from mushu.secret import Secret

#: The order of the answer to a creation; what else the server tells comes after.
_CONTRACT: Final = ("key_id", "key", "name", "scopes", "created_at")


def print_once(keyring: Keyring, environment: Environment, request: dict[str, Any]) -> None:
    """Create a key and print the answer with the key in it, this one time."""
    try:
        answer = keyring.create(environment, request)
    except Unreachable as failure:
        raise Unreachable(
            f"{failure.message} A key may have been created all the same: see `mushu api-key list`."
        ) from None
    key = answer.get("key")
    if not isinstance(key, Secret):
        raise misunderstood("it holds no key")
    ordered = {name: answer[name] for name in _CONTRACT if name in answer} | answer
    print_json({name: value.reveal() if value is key else value for name, value in ordered.items()})
    if sys.stdout.isatty():
        note("The key is shown this one time. Next time, --to puts it where it is used, unseen.")
