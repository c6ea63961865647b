"""The gate: from the credential in a request to the principal that it proves, and what that principal may do.

    headers ─ credential.py ─→ credential ─ principal.py ─→ principal ─ access.py ─→ the organization, or an error

    proof.py          the same decision again, inside the transaction that uses it
    invitations.py    the same question about who invited

Every request passes here, and every answer is as fresh as the database: nothing is remembered between two requests.
`web/guard.py` calls it. May not import Flask, Click or a resource.
"""
