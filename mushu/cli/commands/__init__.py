"""The commands of `mushu`, one noun a file: each parses its options, asks `client/`, and prints.

A command may not import httpx or a destination plugin when it is loaded, because help and completion load it too.
"""
