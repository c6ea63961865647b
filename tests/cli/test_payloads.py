"""What `mushu push send --payload` takes: an object that every program reads alike, or a reason."""

import pytest

from tests.cli.conftest import Mushu
from tests.cli.stub import Stub


@pytest.mark.fault
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ('{"a": NaN}', "NaN is not JSON."),
        ('{"a": 1e999}', "A number is larger than 64 bits hold."),
        ('{"a": 1, "a": 2}', "A field stands twice in one object."),
        ('{"a": "\\ud800"}', "A text holds half of a surrogate pair."),
        ('{"a": "\udcff"}', "It is not UTF-8."),
        ('{"a":' + "[" * 900 + "]" * 900 + "}", "It is nested deeper than 32 levels."),
        ('{"a":' * 10_000, "It is nested deeper than 32 levels."),
    ],
    ids=["NaN", "large", "twice", "half a pair", "bytes", "deep", "deeper"],
)
def test_what_the_server_would_refuse_is_refused_here_with_the_reason(
    mushu: Mushu, asking: Stub, payload: str, reason: str
) -> None:
    ran = mushu("push", "send", "--user", "ada", "--tenant", "tenant_abcdefghijkl", "--payload", payload).fails(code=2)
    assert reason in " ".join(ran.stderr.split())
    assert asking.asked == []
