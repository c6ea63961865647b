"""The two sides of a server, live and test: each key belongs to one. Standard library only."""

from enum import StrEnum


class Environment(StrEnum):
    LIVE = "live"
    TEST = "test"
