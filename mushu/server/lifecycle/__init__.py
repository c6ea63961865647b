"""The verbs of an API key, one file each: every door (HTTP, command, first run) calls them, and none does more.

    issue.py      a new key: shown once, delivered by this server, or handed to a client to deliver
    rotate.py     a successor takes a key's place
    delete.py     a key, or an organization with its keys, ends; phase 1: what an older database forgot of it ends again

A verb is one function. Its phases are numbered, and the same numbers mean the same in every verb:

    1  follow the journal of revoked keys
    2  answer what an earlier request with the same Idempotency-Key was answered
    3  look at the key, its organization and its rules
    4  check the targets: nothing is minted that cannot be written
    5  T1, in a transaction of the verb: claim the targets, mint, register the deliveries, audit
    6  have `delivery` bring the key: T2 to T4
    7  answer a value

A verb imports neither Flask nor Click, and no resource. Nothing below it imports a verb.
"""
