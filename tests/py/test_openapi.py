"""What the node answers is what its OpenAPI document says, whatever it is sent.

schemathesis makes requests up from the document, right and wrong ones, and compares the answers
with it. The seed is fixed, so that a failure comes back.
"""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def run(node, key, folder, *options):
    command = [SCHEMATHESIS, "run", node.url + "/openapi.json"]
    command += ["--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS)]
    command += ["--seed", "2718", "--max-examples", "40", "--continue-on-failure", "--no-color"]
    # An event stream has no end to wait for, and a webhook's test answers with 502 for its target.
    command += ["--exclude-path-regex", "/audit/stream$|/webhooks/{id}/test$", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


def test_every_answer_to_an_api_key_is_described(node, tmp_path):
    run(node, node.api_key, tmp_path)


@pytest.mark.parametrize("routes", ["/organizations", "/cluster"])
def test_every_answer_to_an_operator_key_is_described(node, tmp_path, routes):
    run(node, node.operator_key, tmp_path, "--include-path-regex", f"^/v1{routes}")


def test_every_answer_without_a_key_is_described(node, tmp_path):
    run(node, "none", tmp_path, "--phases", "examples,coverage")
