"""The name of the key in the metadata of its secret: a courtesy to whoever looks there, so nothing fails for it."""

from typing import Final

from mushu_vault.client import Client
from mushu_vault.document import Document, Value
from mushu_vault.messages import Request

# What Vault allows for a name, in bytes.
_LONGEST: Final = 128
_NO_PATCH: Final = (403, 405, 415)


def name_for(field: str) -> str:
    """Return the entry of the custom metadata that belongs to `field`."""
    return f"mushu_{field}"


def put(client: Client, path: str, field: str, key_id: str | None) -> None:
    """Set the entry of `field` to `key_id`, or take it away; other entries stay as they are."""
    name = name_for(field)
    if not name.isprintable() or len(name.encode()) > _LONGEST:
        return
    entry = Document({name: key_id}).within("custom_metadata")
    reply = client.attempt(Request("PATCH", path, entry))
    if reply is not None and reply.status in _NO_PATCH:
        _put_whole(client, path, name, key_id)


def _put_whole(client: Client, path: str, name: str, key_id: str | None) -> None:
    """Read the entries and write them back with ours among them, if they can be read."""
    reply = client.attempt(Request("GET", path))
    data = reply.body.child("data") if reply is not None and reply.is_success and reply.body is not None else None
    if data is None:
        return
    others = data.child("custom_metadata") or Document({})
    body = others.having(name, Value(key_id)).within("custom_metadata")
    # Where the server counts the versions of metadata, a change by somebody else in between is not lost.
    version = data.number("current_metadata_version")
    client.attempt(Request("POST", path, body if version is None else body.beside("metadata_cas", version)))
