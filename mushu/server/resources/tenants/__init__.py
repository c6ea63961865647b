"""Tenants: the apps that notifications are sent to, each with its credentials for Apple's push service, or without any.

The private key is checked as it comes in and sealed at rest (`credentials.py`). May not import Flask or Click; sends
nothing itself. Read on in `service.py`.
"""
