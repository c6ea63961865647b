"""API keys: minted, named, disabled, deleted; what they may do and in which state they are.

A key is checked by `gate/` and delivered by `delivery/`. Read on in `service.py`, `states.py`, `scopes.py`.
"""
