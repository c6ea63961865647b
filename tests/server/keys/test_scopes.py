import pytest

from mushu.server.errors import Invalid
from mushu.server.keys import Scope, parse_scopes


def test_scopes_come_in_one_order_however_they_were_named() -> None:
    assert parse_scopes(["admin", "read", "write"]) == (Scope.READ, Scope.WRITE, Scope.ADMIN)
    assert parse_scopes(["admin"]) == (Scope.ADMIN,)


@pytest.mark.parametrize("names", [[], [""], ["Read"], ["read", "delete"], ["read", "read"], [" read"]])
def test_unknown_empty_and_repeated_scopes_are_refused(names: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        parse_scopes(names)
    assert caught.value.field == "scopes"
