"""The `vault:` destination: one key into one field of one secret in a KV engine of HashiCorp Vault or OpenBao.

May import `mushu.destination`, hvac with what it stands on (requests, urllib3) and the standard library, nothing else
of Mushu. Read on in `destination.py` (the contract), `engine.py` (compare-and-set, and what an unclear answer means),
`kv.py` (the two engines), `client.py` (asking with a token), `login.py` (where that comes from),
`connection.py` (what goes over the wire), docs/destinations/vault.md (what an operator is promised).
"""

from mushu_vault.destination import VaultDestination

__all__ = ["VaultDestination"]
