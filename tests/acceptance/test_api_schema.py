"""What the API documents of itself holds, whatever is sent to it."""

from __future__ import annotations

import json
import urllib.request

import schemathesis
from calls import OPERATE, start_api
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from world import World

EXAMPLES = 25
# what a test without a beat and workers answers with 503, and what is no JSON
LEFT_OUT = frozenset({"/readyz", "/metrics"})


def test_no_request_ends_in_a_server_error_or_in_an_answer_that_is_not_documented(world: World) -> None:
    client = start_api(world)
    with urllib.request.urlopen(f"{client.url}/openapi.json", timeout=10) as reply:
        document = json.loads(reply.read())
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = client.url
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in LEFT_OUT:
            continue
        tried.add(operation.path)

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {OPERATE}"})
            case.validate_response(
                answer, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
            )

        ask()
    assert tried == set(document["paths"]) - LEFT_OUT
    assert len(tried) > 12
