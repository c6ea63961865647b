"""Encryption at rest of what must be read back: the settings of destinations, the keys of push services.

A key and a password are kept as digests and never read back; what is needed in clear again is sealed. The keys that
seal are in a file beside the database (`ring.py`), so a copy of the database alone opens nothing. Every sealed value is
bound to the row it stands in. Which columns hold sealed values, they say themselves (`rows.py`, which also rotates the
keys). Why it is built like this: `docs/decisions/0007-sealing.md`.
"""
