"""Messages verify with the reference library, and the receiver of docs/webhooks.md receives them."""

import http.server
import json
import os
import pathlib
import queue
import re
import subprocess
import sys
import threading

import pytest
import standardwebhooks
from conftest import PATIENCE_S, free_port

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "webhooks.md"


@pytest.fixture
def receiver():
    """A server on loopback; what arrives is in its queue."""
    arrived = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            arrived.put((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.arrived = arrived
    yield server
    server.shutdown()


def register(node, port, events):
    body = {"url": f"http://127.0.0.1:{port}/hook", "events": events}
    return node.post("/v1/webhooks", body, 201)


def test_what_arrives_verifies_with_the_reference_library(node, receiver):
    webhook = register(node, receiver.server_port, ["agent.created", "token.issued"])
    agent = node.agent()
    token = node.token(agent["id"])
    verifier = standardwebhooks.Webhook(webhook["secret"])
    events = {}
    for _ in range(2):
        headers, body = receiver.arrived.get(timeout=PATIENCE_S)
        event = verifier.verify(body, headers)
        assert event["id"] == headers["webhook-id"]
        events[event["type"]] = event["data"]
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verifier.verify(body.replace(b"agent", b"agemt"), headers)
    assert events["agent.created"]["agent_id"] == agent["id"]
    assert events["token.issued"]["token_id"] == token["token_id"]

    rotated = node.call("POST", f"/v1/webhooks/{webhook['id']}/rotate-secret").json()
    node.agent()
    headers, body = receiver.arrived.get(timeout=PATIENCE_S)
    for secret in (webhook["secret"], rotated["secret"]):
        standardwebhooks.Webhook(secret).verify(body, headers)
    assert node.call("DELETE", f"/v1/webhooks/{webhook['id']}").status_code == 200


def test_the_receiver_of_the_page_receives(node):
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 10, "ten lines, as promised"
    command = re.search(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    port = free_port()
    env = {
        **os.environ,
        "AUTHRAI_URL": node.url,
        "AUTHRAI_KEY": node.api_key,
        "HOOK_URL": f"http://127.0.0.1:{port}/hook",
    }
    made = subprocess.run(["bash", "-c", command], env=env, capture_output=True, check=True)
    webhook = json.loads(made.stdout)
    env |= {"HOOK_SECRET": webhook["secret"], "HOOK_PORT": str(port)}
    python = [sys.executable, "-c", example]
    with subprocess.Popen(python, env=env, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            # The first attempts may come before the receiver listens; then a retry arrives.
            agent = node.agent(name="told of")
            line = receiver.stdout.readline()
            assert line.startswith("agent.created") and agent["id"] in line, line
        finally:
            receiver.kill()
    assert node.call("DELETE", f"/v1/webhooks/{webhook['id']}").status_code == 200
