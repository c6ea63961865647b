"""Where a client reports that it delivered a key on its own machine."""

from http import HTTPStatus
from typing import Annotated

from pydantic import Field

from mushu.server.core import db, get_core
from mushu.server.db import writing
from mushu.server.delivery.client import Proof, confirm
from mushu.server.keys.scopes import Scope
from mushu.server.keys.service import get_key_of
from mushu.server.web.api.keys import Key, KeyPath, key_answer
from mushu.server.web.api.models import Body, Text
from mushu.server.web.guard import current_environment, current_principal, requires
from mushu.server.web.routes import Resource, Route


class ClientDelivery(Body):
    place: Text
    digest: Annotated[str, Field(max_length=64)]


class ClientDeliveries(Body):
    deliveries: list[ClientDelivery] = Field(max_length=50)


@requires(Scope.ADMIN)
def confirm_client_delivery(path: KeyPath, body: ClientDeliveries) -> Key:
    """Activate a key that was created with `delivery: client`: each digest is the SHA-256 of what was read back."""
    proofs = [Proof(delivery.place, delivery.digest) for delivery in body.deliveries]
    with writing(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id)
        return key_answer(confirm(db.session, get_core().clock, current_principal().actor, key, proofs))


RESOURCE = Resource(
    "client deliveries",
    [
        Route(
            "POST",
            "/orgs/<org_id>/api-keys/<key_id>/delivered",
            confirm_client_delivery,
            Key,
            (HTTPStatus.CONFLICT,),
        )
    ],
)
