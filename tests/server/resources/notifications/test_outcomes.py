"""Every way in which a notification can fail is told in a sentence that says what to do."""

import re

import pytest

from mushu.server.instance import ROOT
from mushu.server.resources.notifications.apns import Outcome
from mushu.server.resources.notifications.outcomes import explain


@pytest.mark.parametrize("outcome", [Outcome.SENT, Outcome.RECORDED])
def test_a_success_needs_no_explanation(outcome: Outcome) -> None:
    assert explain(outcome, 200, None) is None


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "sentence"),
    [
        (Outcome.NO_DEVICE, None, None, "This user has no device: register one first."),
        (Outcome.PENDING, None, None, "It is being sent at this moment."),
        (
            Outcome.FAILED, 400, "BadTopic",
            "Apple does not know the tenant's bundle_id (400 BadTopic).",
        ),
        (Outcome.FAILED, 400, "SomethingNew", "Apple refused it (400 SomethingNew)."),
        (Outcome.FAILED, 400, None, "Apple refused it (400)."),
        (Outcome.FAILED, 502, None, "Apple failed: send again later (502)."),
        (Outcome.FAILED, None, "unreachable",
         "Apple could not be reached: see whether this server may connect to the push service on port 443."),
        (Outcome.UNKNOWN, None, "timeout", "Apple did not answer in time; it is not known whether this arrived."),
        (
            Outcome.UNKNOWN, None, None,
            "It is not known whether this arrived: the server stopped while it was sending.",
        ),
    ],
)  # fmt: skip
def test_a_failure_is_explained(outcome: Outcome, status: int | None, reason: str | None, sentence: str) -> None:
    assert explain(outcome, status, reason) == sentence


def test_every_outcome_is_in_the_documentation_and_none_that_is_not() -> None:
    page = (ROOT / "docs" / "notifications.md").read_text()
    table = page.partition("| outcome | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Outcome)
