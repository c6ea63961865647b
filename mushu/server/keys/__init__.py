"""API keys as rows and rules: minted, named, in one state at a time, succeeded by another, deleted for good.

Nothing here commits, delivers a key or knows who asks: a key is checked by `gate/`, delivered by `delivery/`, and every
verb of it is in `lifecycle/`. Read on in `minting.py`, `states.py`, `rotation.py`, `service.py` and
`revocation_journal.py`.
"""
