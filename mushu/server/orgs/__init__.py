"""Organizations and who belongs to them.

An organization has exactly one owner, held by a unique index and not by this code alone. Users are known here by their
id only; what a role permits is for `gate/` to say. Read on in `service.py` (organizations), `members.py` (who belongs,
and how the invited join), `invitations.py` (who invites), `settings.py` (the rules that an organization sets itself).
"""
