"""The Python example of docs/agent-signatures.md signs a request that counts, once."""

import json
import os
import pathlib
import re
import subprocess
import sys

import requests

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "agent-signatures.md"


def signed_headers(agent, body):
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    env = {**os.environ, "AGENT_ID": agent["id"], "AGENT_KEY": agent["secret_key"]}
    made = subprocess.run(
        [sys.executable, "-c", example], input=body, env=env, capture_output=True, check=True
    )
    return dict(line.split(": ", 1) for line in made.stdout.decode().splitlines())


def test_the_example_signs_a_request_that_counts_once(node):
    agent = node.agent(require_signature=True)
    body = json.dumps({"agent_id": agent["id"], "scope": ["a.read"]}).encode()
    headers = {
        "Authorization": f"Bearer {node.api_key}",
        "Content-Type": "application/json",
        **signed_headers(agent, body),
    }
    first, again = (
        requests.post(node.url + "/v1/tokens", data=body, headers=headers, timeout=30)
        for _ in range(2)
    )
    assert first.status_code == 201, first.text
    assert (again.status_code, again.json()["code"]) == (401, "nonce_used")
