"""Devices: where the users of a tenant can be reached. Each is known by the token that Apple gave it.

May not import Flask or Click. Read on in `service.py`.
"""
