"""Usage: which key was used, when first, when last, from where, how often.

Counted in memory and written in batches, so that counting makes no request wait; a process that dies loses the last
second of it. That a key was used at all decides when the one before it may retire, and is never guessed: what was not
written did not happen. Read on in `service.py`.
"""
