"""The `vault:` destination: one key into one field of one secret in a KV engine of HashiCorp Vault or OpenBao.

Imports `mushu.destination`, hvac with what it stands on (requests, urllib3) and the standard library, nothing else of
Mushu. Read on in `destination.py` (the contract, phase by phase), `change.py` (compare-and-set, and what an unclear
answer means), `kv2.py` and `kv1.py` (the two engines), `client.py` (asking, and logging in again), `transport.py` (what
goes over the wire, and what never does), docs/destinations/vault.md (what an operator is promised).
"""

from mushu_vault.destination import VaultDestination

__all__ = ["VaultDestination"]
