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

The verb that mints the key owns T1 (`lifecycle/`). This package mints nothing, knows no verb and no resource, and calls
no function that it was handed but the one that opens a destination.

Read on in `protocol.py` (what a verb calls), `preflight.py` (before a key is minted), `mushu.destination` (how a plugin
is called), `activation.py` (T4), `reconciler.py` (after a crash), `ledger.py` (the rows).
"""
