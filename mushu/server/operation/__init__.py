"""What keeps a server running: the first start, serving, housekeeping, upgrades of the database, and `flask doctor`.

`up.py` and the commands call it. It calls the services of every domain, and imports neither the web nor a command. Read
on in `first_run.py`, `serving.py` (also clients that take their answers too slowly), `requests.py` (which thread
answers a request), `housekeeping.py` (and what is over is deleted), `doctor.py` and `upgrading/`.
"""
