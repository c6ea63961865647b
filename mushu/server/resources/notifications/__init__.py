"""Notifications: what was sent to which devices, and what became of it.

A tenant with credentials sends through Apple's push service; one without writes to its outbox, which shows what would
have been sent. May not import Flask or Click.

    payload.py          what Apple gets, checked and measured
    hosts.py            Apple's production or its sandbox: the one decision
    provider_token.py   the signed token that says who sends
    apple.py            what Apple's answers mean
    lines.py            connections, on an event loop of their own (loop.py)
    reasons.py          why it did not arrive, in sentences
    sender.py           one notification to many devices, each with its retries
    service.py          the rows
    outcomes.py         the rows, as they are told
    outbox.py           the outbox as a person reads it
    dispatch.py         write down, send, write down: owns the transactions. Read on here.
"""
