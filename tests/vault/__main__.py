"""`python -m tests.vault`: a stub until standard input ends; says where it is in one line of JSON."""

import json
import sys

from tests.vault.server import VaultStub


def main() -> None:
    with VaultStub(control=True) as vault:
        print(json.dumps({"address": vault.address, "root_token": vault.root_token}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
