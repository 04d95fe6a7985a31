"""The API against its own description: what schemathesis sends is answered as described, alone and in sequence."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest
import schemathesis
from schemathesis import Case, CheckContext, Response
from schemathesis.engine import events, from_schema
from schemathesis.specs.openapi.checks import RejectedPositiveData, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.api.calling import Api, Person, refused
from tests.fuzz.conftest import EXAMPLES, SEED, World
from tests.matrix import FULL

UNSPECIFIC = {"bad_request", "malformed_json", "unsupported_media_type", "invalid"}
# Schemathesis fills its Last-Event-ID with what the streams of runners take under that name: numbers.
SHARES_A_NAME = "GET /api/v1/events"
# Only who holds a signed URL or the secret of a hook gets anything here, and the fuzzer cannot sign.
SIGNED = {
    "POST /api/v1/hooks/{hook_id}",
    "POST /api/v1/forge_webhooks/{forge_webhook_id}",
    "GET /api/v1/blobs/{key}",
    "PUT /api/v1/blobs/{key}",
    "DELETE /api/v1/blobs/{key}",
}


@schemathesis.check
def takes_what_it_describes(context: CheckContext, response: Response, case: Case) -> None:
    """What fits the description is refused only for a reason with a code of its own.

    A schema cannot say which addresses are private or which agents there are; `private_address` and `unknown_agent`
    say so. Plain `invalid` means that the description promises more than is taken.
    """
    try:
        positive_data_acceptance(context, response, case)
    except RejectedPositiveData:
        if response.json()["error_code"] in UNSPECIFIC and case.operation.label != SHARES_A_NAME:
            raise


class Findings:
    """What a run found, and which statuses each operation answered with."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, ...], str] = {}
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.phases: Counter[str] = Counter()

    def look(self, description: OpenApiSchema) -> None:
        for event in from_schema(description).execute():
            self.take(event)

    def unreached(self, labels: set[str]) -> set[str]:
        """Those of the operations that never found anything. What is found may be in a state that forbids it."""
        found = {200, 201, 202, 204, 409}
        return {label for label in labels - SIGNED if not self.statuses[label].keys() & found}

    def take(self, event: events.EngineEvent) -> None:
        if isinstance(event, events.ScenarioFinished):
            self._take_scenario(event)
        elif isinstance(event, events.NonFatalError):
            self.texts[("error", str(event.value))] = f"{event.label}: {event.value!r}"
        elif isinstance(event, events.FatalError):
            raise event.exception

    def _take_scenario(self, event: events.ScenarioFinished) -> None:
        self.phases[event.phase.value] += len(event.recorder.interactions)
        for case_id, interaction in event.recorder.interactions.items():
            if interaction.response is not None:
                operation = event.recorder.cases[case_id].value.operation
                self.statuses[operation.label][interaction.response.status_code] += 1
        for case_id, check, info in _failures(event):
            label = event.recorder.cases[case_id].value.operation.label
            answer = event.recorder.interactions[case_id].response
            text = f"{label}: {check}: {info.failure.title}\n{info.failure.message}\n{info.code_sample}"
            shown = f"\n{answer.status_code} {answer.content[:500]!r}" if answer is not None else ""
            self.texts.setdefault((label, check, info.failure.title), text + shown)


def _failures(event: events.ScenarioFinished) -> Iterator[tuple[str, str, object]]:
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                yield case_id, check.name, check.failure_info


# It takes as long as there are operations; a busy machine needs more than the time of other tests.
@pytest.mark.timeout(2400)
def test_answers_are_as_described(description: OpenApiSchema, ada: Person, world: World) -> None:
    found, phases = Findings(), description.config.phases
    wanted = {name for name in ("examples", "coverage", "fuzzing", "stateful") if getattr(phases, name).enabled}
    labels = [result.ok().label for result in description.get_all_operations()]
    # The phase `coverage` sends 70 requests to an operation, so it looks at a third of them where not everything is asked for.
    some = {*labels} if FULL or "coverage" not in wanted else {*labels[SEED % 3 :: 3]}
    found.look(only(some, description))
    assert wanted <= {name.lower() for name in found.phases}, found.phases
    # The few examples of an operation may all have missed what there is.
    phases.stateful.enabled, phases.coverage.enabled = False, True
    for seed in range(SEED + 1, SEED + 20):
        if not (unreached := found.unreached(some)):
            break
        world.renew(ada.admin)
        description.config.seed = seed
        found.look(only(unreached, description))
    # Where nothing is ever found, little is tested.
    assert not found.unreached(some), found.statuses
    assert not found.texts, _report(found.texts.values())


def only(labels: set[str], description: OpenApiSchema) -> OpenApiSchema:
    """Of the operations these. `include` does nothing in a description whose `operations` are configured."""
    known = {result.ok().label for result in description.get_all_operations()}
    return description.exclude(name=sorted(known - labels)) if known - labels else description


def _report(texts: object) -> str:
    again = f"Again: FUZZ_SEED={SEED} FUZZ_EXAMPLES={EXAMPLES} pytest tests/fuzz"
    return "\n\n".join([f"{len(list(texts))} findings. {again}", *texts])


def test_every_operation_wants_a_token(description: OpenApiSchema, api: Api, world: World) -> None:
    """Replaces the check `ignored_auth`."""
    asked = 0
    for result in description.get_all_operations():
        operation = result.ok()
        if operation.definition.raw.get("security") == []:
            continue
        path = re.sub(r"{\w+_id}", world.sites[0], operation.path.removeprefix("/api/v1"))
        for token, error_code in ((None, "token_missing"), ("ar_nobody", "bad_token")):
            refused(api.with_token(token)(operation.method, path), 401, error_code)
        asked += 1
    assert asked > 20
