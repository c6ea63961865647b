"""Verifies keys with keyshield, Argon2 and SQLite, as its documentation begins: for `bench/peers/compare.py`."""

import asyncio
import sys
import time

from keyshield import ApiKeyService
from keyshield.hasher.argon2 import Argon2ApiKeyHasher
from keyshield.repositories.sql import SqlAlchemyApiKeyRepository
from keyshield.services.cached import CachedApiKeyService
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

HASHER = Argon2ApiKeyHasher(pepper="a pepper of the bench, long enough for it")


async def main(database: str, kind: str) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    service_class = CachedApiKeyService if kind == "cached" else ApiKeyService
    # Its random pause of up to 0.3 s costs no CPU, and is left out.
    options = {"hasher": HASHER, "rrd": 0.0, "min_delay": 0.0, "max_delay": 0.0}
    async with sessions() as session:
        repo = SqlAlchemyApiKeyRepository(session)
        await repo.ensure_table(engine)
        _, key = await service_class(repo=repo, **options).create(name="bench", scopes=["read"])
        await session.commit()
    async with sessions() as session:
        service = service_class(repo=SqlAlchemyApiKeyRepository(session), **options)
        await service.verify_key(key, required_scopes=["read"])
        await session.commit()
        while line := sys.stdin.readline():
            before = time.process_time()
            for _ in range(int(line)):
                await service.verify_key(key, required_scopes=["read"])
                await session.commit()
            print(time.process_time() - before, flush=True)


asyncio.run(main(*sys.argv[1:]))
