"""`flask keys`, `flask orgs`, `flask members`, `flask users`, `flask doctor`: what an operator does on the server.

A command parses, calls one service in a transaction of its own, and prints. Flask finds the groups by the entry points
in setup.cfg; they bring their own core, so the web is never loaded. Read on in `common.py` and `printing.py`.
"""
