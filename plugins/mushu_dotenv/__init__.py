"""The `env:` destination: one key into one variable of one `.env` file, and not a byte more.

May import `mushu.destination`, python-dotenv and the standard library, nothing else of Mushu. Read on in
`destination.py` (the contract), `document.py` (the text), `readers.py` (who reads it), `permissions.py` (what is
refused), `rewriting.py` (how a file is replaced), docs/destinations/env.md (what an operator is promised).
"""

from mushu_dotenv.destination import DotenvDestination

__all__ = ["DotenvDestination"]
