"""What a signed-in user carries for twelve hours: a CLI token, or a browser's cookie.

It is issued and revoked here; `gate/` checks it. Nothing here decides what a user may do. Read on in `service.py`,
`sessions.py` and `device_flow.py` (OAuth's device flow, RFC 8628).
"""
