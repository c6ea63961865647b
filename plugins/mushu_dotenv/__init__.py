"""The `env:` destination: one key into one variable of one `.env` file, and not a byte more.

Imports `mushu.destination`, python-dotenv and the standard library, nothing else of Mushu. Read on in
`destination.py` (the contract, phase by phase), `document.py` (the text), `safety.py` (what is refused),
`storage.py` (how a file is replaced), and docs/destinations/env.md (what an operator is promised).
"""

from mushu_dotenv.destination import DotenvDestination

__all__ = ["DotenvDestination"]
