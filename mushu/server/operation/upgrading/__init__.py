"""Upgrading a database to the schema of this code: with a copy beside it first, and all or nothing.

A copy is a folder `before-REVISION-TIME` in the instance folder. It holds the database, what encrypts it, and a script
that goes back. Nothing here may change a row: that is for migrations alone. Read on in `upgrade.py`, `migrations.py`,
`copying.py` (what a copy holds) and `copies.py` (the folders).
"""
