"""The server: organizations, keys and tokens, delivery, and the HTTP and command line that stand in front of them.

Imports point down only (design, section 4; held by the import-linter contracts in setup.cfg):

    up -> app -> web | commands -> operation | answers -> core -> gate -> delivery -> keys | tokens -> users -> orgs
    -> audit -> db | logs | mail -> clock -> config -> errors

Read on in `app.py` (what is mounted where), `errors.py` (what can go wrong), `delivery/` (what Mushu exists for).
"""
