"""What a signed-in user carries for twelve hours: a CLI token, or a browser's cookie.

A token is checked by `gate/`; here it is issued and revoked. Read on in `service.py`, `devices.py` (the device flow),
`browser.py` (sessions in a browser).
"""
