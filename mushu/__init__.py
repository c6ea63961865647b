"""Mushu: a self-hosted authority for API keys.

What is imported here is paid for by every client, so nothing is: the server stands in `mushu.server`, the contract
for destination plugins in `mushu.destination`, the format of keys in `mushu.keyformat`.
"""
