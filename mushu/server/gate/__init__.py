"""The gate: from the credential in a request to the principal it proves, and what that principal may do.

    headers ─ credential.py ─→ secret ─ lookup.py ─→ principal.py ─ access.py ─→ yes, or an error of the tree

Every request passes here, and every answer is as fresh as the database: nothing is remembered between two requests.
Knows no Flask; `web/guard.py` calls it.
"""
