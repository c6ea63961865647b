"""Sealed delivery: a new key goes straight into its destinations, and is inert until it is proven to be there.

The protocol (design, section 7), with the four commits that make it safe to be killed anywhere:

    preflight   can we write there? nothing is minted if not
    T1          key pending, digest; deliveries pending: URI, expected version, attempt id, lease
    write       outside any transaction, compare-and-set against the expected version
    T2          delivered, with the receipt
    read back   the digest is compared in constant time
    T3          verified
    T4          key active, only if every delivery is verified

No plaintext is stored to make recovery possible: the destination holds the key, the database its digest.
Read on in `protocol.py` (the phases), `preflight.py` (before a key is minted), `mushu.destination` (how a plugin is
called), `recovery.py` (after a crash), `removal.py` (deleting a key from where it lies), `ledger.py` (the rows),
`client.py` (keys that a client delivers).
"""
