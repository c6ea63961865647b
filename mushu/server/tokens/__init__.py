"""CLI tokens: what a signed-in user carries for twelve hours.

A token is checked by `gate/`; here it is issued and revoked. Read on in `service.py`, `devices.py` (the device flow).
"""
