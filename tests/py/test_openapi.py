"""What the node answers is what its OpenAPI document says, whatever it is sent."""

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
OPERATORS_ROUTES = ("/v1/organizations", "/v1/cluster")


@pytest.fixture(scope="session")
def document(node):
    return schemathesis.openapi.from_url(node.url + "/openapi.json")


schema = schemathesis.pytest.from_fixture("document")


@schema.exclude(path_regex="/audit/stream$").parametrize()
@hypothesis.settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_every_answer_is_described(node, case):
    operators = case.path.startswith(OPERATORS_ROUTES)
    key = node.operator_key if operators else node.api_key
    case.call_and_validate(
        headers={"Authorization": f"Bearer {key}"}, checks=CHECKS, timeout=30
    )
