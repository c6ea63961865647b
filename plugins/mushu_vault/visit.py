"""One operation's way to one secret: the server, who we are there, the mount, and its engine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from mushu.destination import DestinationError
from mushu_vault import policy
from mushu_vault.client import Client
from mushu_vault.engine import Engine, Look, Presence
from mushu_vault.kv1 import PlainEngine
from mushu_vault.kv2 import VersionedEngine
from mushu_vault.login import login_from
from mushu_vault.mount import Mount, find_mount
from mushu_vault.server import server_from
from mushu_vault.settings import Settings
from mushu_vault.transport import Transport
from mushu_vault.uri import Address

logger = logging.getLogger(__name__)

# What the API puts between mount and path in version 2, and people copy from there.
_API_WORDS: Final = ("data/", "metadata/")


@dataclass(frozen=True, slots=True)
class Visit:
    """The secret of an address, for as long as its connection is open."""

    client: Client
    mount: Mount
    engine: Engine

    def refuse_misplaced(self, look: Look) -> None:
        """Raise if the path is most likely one of the API, copied. A secret of that name is used, but not made."""
        word = next((word for word in _API_WORDS if self.mount.rest.startswith(word)), None)
        if word is not None and self.mount.version == 2 and look.presence is Presence.NEVER:
            raise DestinationError(
                f"There is no secret {self.mount.rest} in {self.mount.name}, and {word} is what the API puts in front "
                f"of the path by itself. Write vault:{self.mount.name}/{self.mount.rest.removeprefix(word)}.",
                permanent=True,
            )

    def check(self) -> None:
        """Raise if a write would not be allowed."""
        granted = policy.granted_to(self.client, self.engine.data_path)
        if granted is None:
            logger.warning(
                "The token from %s may not ask sys/capabilities-self at %s, so whether it may write to %s will be seen "
                "when it does. Give it the policy `default`.",
                self.client.token_source,
                self.client.server.url,
                self.engine.data_path,
            )
        elif not policy.is_granted("read", granted):
            raise policy.missing(self.client, self.engine.data_path, self.engine.lacking(None, granted), granted)
        look = self.engine.look()
        self.refuse_misplaced(look)
        lacking = set() if granted is None else self.engine.lacking(look.presence, granted)
        if granted is not None and lacking:
            raise policy.missing(self.client, self.engine.data_path, lacking, granted)


@contextmanager
def visited(address: Address, settings: Settings) -> Iterator[Visit]:
    """Yield the way to `address`; closed when the operation ends.

    Raises:
        DestinationError: a setting is wrong, the login failed, there is no KV engine, or no answer.
    """
    server, way_in = server_from(settings, address.namespace), login_from(settings)
    with Transport(server) as transport:
        client = Client(transport, way_in)
        mount = find_mount(client, address)
        kind = VersionedEngine if mount.version == 2 else PlainEngine
        yield Visit(client, mount, kind(client, mount, address.field))
