"""Many requests that nobody thought of, each answered as the OpenAPI document says; found by schemathesis.

The short form sends the same ones in every run, the long one others each time. Half of them are what the document
allows, half break it somewhere; ids in paths are mostly those of real things, so that they come further than the first
look-up.
"""

import string
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from mushu.server.keys import Scope
from tests.long import LONG, SEED, times
from tests.server.conftest import api_key
from tests.server.web.conftest import House
from tests.server.web.endpoints import BY_CLIENT_SECRET, MOUNTED, PARAMETERS, PUBLIC, TEST, Mounted, Stage

#: For each endpoint: allowed requests as the owner or with a key, and as many that break the document.
EXAMPLES = times(3, 48)
#: A document in JSON Schema cannot say every rule: what it allows may be refused with 422, in a sentence.
LEFT_OUT: list[Any] = [positive_data_acceptance]
#: A form without a field is a good one here, and that is what a form of no object looks like on the wire.
TAKES_AN_EMPTY_FORM = "/auth/device/code"
#: Open to everybody, or refused to all who prove nothing; and in the document.
OPEN = sorted(
    (method, rule)
    for method, rule in PUBLIC | BY_CLIENT_SECRET
    if rule.startswith(("/auth/", "/media/", "/t/", "/sandbox/", "/oauth/"))
    or rule.endswith(("/health", "/ready", "/validate"))
)
#: In the short form, each endpoint is asked by one of the two in live, and by the other in test.
ALLOWED = [
    (mounted, caller)
    for number, mounted in enumerate(MOUNTED)
    for turn, caller in enumerate(("owner", "key"))
    if LONG or (number + (mounted.environment is TEST)) % 2 == turn
]
AnyCase = Case[Any]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

pytestmark = [pytest.mark.unmeasured, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def document(house: House) -> BaseSchema:
    loaded: BaseSchema = schemathesis.openapi.from_wsgi("/openapi.json", house.app)
    return loaded


def in_turn(
    strategy: st.SearchStrategy[AnyCase], act: Callable[[AnyCase, int], None], examples: int = EXAMPLES
) -> None:
    """Try examples; the seed decides which."""

    @seed(SEED)
    @settings(
        max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy, turn=st.integers(0, 3))
    def tried(case: AnyCase, turn: int) -> None:
        act(case, turn)

    tried()


def words_of(mounted: Mounted) -> dict[str, str]:
    """Return the parameters of the path, and which of a stage's ids stand for them."""
    words = [name for _, name, _, _ in string.Formatter().parse(mounted.endpoint.path.partition("?")[0]) if name]
    return {PARAMETERS[word]: word for word in words}


def about(case: AnyCase, stage: Stage, ids: dict[str, str]) -> None:
    """Have the request be about what is really there."""
    case.path_parameters.update({parameter: stage[word] for parameter, word in ids.items()})
    if isinstance(case.body, dict) and "org_id" in case.body:
        case.body["org_id"] = stage.org
    if case.query and "org_id" in case.query:
        case.query["org_id"] = stage.org


def ask(case: AnyCase, headers: dict[str, str] | None = None) -> None:
    """Send the request in a context of its own, as in production, and hold the answer against the document."""
    left_out = [*LEFT_OUT, negative_data_rejection] if case.path == TAKES_AN_EMPTY_FORM else LEFT_OUT
    Context().run(lambda: case.call_and_validate(headers=headers, excluded_checks=left_out))


def operation_of(document: BaseSchema, mounted: Mounted) -> APIOperation[Any, Any, Any, Any]:
    method, rule = mounted.rule
    return document[rule.replace("<", "{").replace(">", "}")][method]


@pytest.mark.parametrize(("mounted", "caller"), ALLOWED, ids=str)
def test_what_the_document_allows_is_answered_as_it_says(
    house: House, document: BaseSchema, mounted: Mounted, caller: str
) -> None:
    ids, lasting = words_of(mounted), Stage(house.world, mounted.environment)

    def act(case: AnyCase, turn: int) -> None:
        stage = Stage(house.world, mounted.environment) if mounted.endpoint.changes else lasting
        if turn:
            about(case, stage, ids)
        headers = stage.headers
        if caller == "key":
            headers = api_key(house.world.key(stage.organization, *Scope, environment=mounted.environment)[1])
        ask(case, headers)

    in_turn(operation_of(document, mounted).as_strategy(), act)


@pytest.mark.parametrize("mounted", MOUNTED, ids=str)
def test_what_breaks_the_document_is_refused_as_it_says(house: House, document: BaseSchema, mounted: Mounted) -> None:
    operation, stage = operation_of(document, mounted), Stage(house.world, mounted.environment)
    real = {parameter: stage[word] for parameter, word in words_of(mounted).items()}
    rest = bool(operation.body) or bool(operation.query) or bool(operation.headers)
    strategy = operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=real if rest else None)

    def act(case: AnyCase, turn: int) -> None:
        ask(case, stage.headers)

    in_turn(strategy, act)


@pytest.mark.parametrize(("method", "rule"), OPEN)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_is_open_to_everybody_answers_as_the_document_says(
    house: House, document: BaseSchema, method: str, rule: str, mode: GenerationMode
) -> None:
    operation = document[rule.replace("<", "{").replace(">", "}")][method]
    if mode is GenerationMode.NEGATIVE and rule in ("/health", "/ready"):
        return  # there is nothing to break
    in_turn(operation.as_strategy(mode), lambda case, turn: ask(case))


def test_every_operation_of_the_document_is_tried(document: BaseSchema) -> None:
    mounted = {mounted.rule for mounted in MOUNTED} | set(OPEN)
    described = {
        (method.upper(), path.replace("{", "<").replace("}", ">"))
        for path, item in document.raw_schema["paths"].items()
        for method in item
    }
    assert described == mounted
