"""The audit trail: who changed what, written in the same transaction as the change it records.

Services of every domain call `record`; nothing here calls them. Events are only ever added. Read on in `service.py`.
"""
