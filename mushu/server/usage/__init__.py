"""Usage: which key was used, when first, when last, from where, how often; and what was refused to it, and why.

counters   a file of counters for each process: what was counted outlives it
recorder   counts a request, and has the files added up once a second
models     the tables
engine     where they are: in a database beside SQLite's, or in PostgreSQL
store      adds up what was counted, makes days of hours, and forgets
report     what is told of one key, what is unusual about it, and about which keys of an organization something is

Counting makes no request wait and commits nothing to the database of the keys. That a key was used at all decides when
the one before it may retire, and is never guessed: what was not written did not happen.
"""

from mushu.server.usage.models import KeyUse
from mushu.server.usage.recorder import Recorder
from mushu.server.usage.store import uses_of

__all__ = ["KeyUse", "Recorder", "uses_of"]
