"""Organizations and who belongs to them.

An organization has exactly one owner, held by a unique index and not by this code alone. Users are known here by
their id only. Read on in `service.py` (organizations), `members.py` (memberships, transfer of ownership), `roles.py`,
`invitations.py` (who invites), `joining.py` (who was invited).
"""
