"""Notifications: what was sent to which devices, and what became of it.

A tenant with credentials sends through Apple's push service. One without writes to its outbox, which shows what would
have been sent. May not import Flask or Click.

    dispatch.py     write down, send, write down: owns the transactions. Read on here.
    service.py      the rows
    outcomes.py     what became of a notification, as it is told
    sender.py       one notification to many devices, each with its retries
    connection.py   the connections to Apple, on an event loop of their own
    apns.py         Apple's protocol: hosts, payload, answers
    cleaning.py     what housekeeping does
"""
