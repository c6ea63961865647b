"""What the server makes of a request before it looks at what is asked. The same on a real server."""

import pytest

from tests.vault.calls import LARGEST
from tests.vault.places import Place, errors


@pytest.mark.parametrize("content", [b"{", b'{"data":', b"not json", b"{'data': {}}", b'{"data": {"x": NaN}}'])
def test_what_is_no_json_is_refused(place: Place, content: bytes) -> None:
    status, said = errors(place.ask("POST", place.data("app"), content=content))
    assert status == 400
    assert said[0].startswith("failed to decode JSON input: ")


def test_a_request_that_is_too_large_is_refused(place: Place) -> None:
    content = b'{"data": {"x": "' + b"x" * LARGEST + b'"}}'
    answer = place.ask("POST", place.data("app"), content=content)
    assert errors(answer) == (413, ["http: request body too large"])


def test_a_path_may_hold_spaces_and_dots(place: Place) -> None:
    for path in ("a b", "a..b", "..a", "é"):
        assert place.write(path, {"at": path}).status_code == 200
        assert place.read(path).json()["data"]["data"] == {"at": path}
