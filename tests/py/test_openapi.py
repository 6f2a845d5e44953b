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


# Has no end to wait for.
STREAM = "/audit/stream$"
# A webhook's test answers with 502 where its target fails, and no target here is one.
TEST = r"/webhooks/\{id\}/test$"


def run(node, key, folder, *options):
    command = [SCHEMATHESIS, "run", node.url + "/openapi.json"]
    command += ["--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS)]
    command += ["--seed", "2718", "--continue-on-failure", "--no-color", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


def test_every_answer_to_an_api_key_is_described(node, tmp_path):
    run(node, node.api_key, tmp_path, "--max-examples", "40", "--exclude-path-regex", f"{STREAM}|{TEST}")


def test_every_message_of_the_event_stream_is_described(node, tmp_path):
    options = ("--phases", "examples,coverage", "--request-timeout", "1")
    run(node, node.api_key, tmp_path, "--include-path-regex", STREAM, *options)


@pytest.mark.parametrize("routes", ["/organizations", "/cluster"])
def test_every_answer_to_an_operator_key_is_described(node, tmp_path, routes):
    options = ("--max-examples", "40", "--include-path-regex", f"^/v1{routes}")
    run(node, node.operator_key, tmp_path, *options)


def test_every_answer_without_a_key_is_described(node, tmp_path):
    options = ("--phases", "examples,coverage", "--exclude-path-regex", STREAM)
    run(node, "none", tmp_path, *options)
