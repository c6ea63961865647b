"""Users: people with an e-mail address and a password.

They know nothing of HTTP, of tokens and of keys. Read on in `service.py` (users), `passwords.py` (Argon2id), `login.py`
(the phases of a sign-in), `throttle.py` (what failed ones lead to), `known_clients.py` (who need not wait for others),
`links.py` (one-time links that set a password).
"""
