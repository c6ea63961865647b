"""Users: people with an e-mail address and a password.

Read on in `service.py` (users), `passwords.py` (Argon2id), `login.py` (proving who one is), `throttle.py` (slowing
guesses down), `known_clients.py` (who need not wait for others), `failures.py` (failed sign-ins in the audit trail),
`links.py` (one-time links that set a password).
"""
