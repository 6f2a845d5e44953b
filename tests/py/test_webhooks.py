"""Messages verify with the reference library, and the receiver of docs/webhooks.md receives them."""

import contextlib
import http.server
import json
import os
import pathlib
import queue
import re
import ssl
import subprocess
import sys
import threading

import pytest
import standardwebhooks
from conftest import PATIENCE_S, free_port, running_node

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "webhooks.md"


@contextlib.contextmanager
def serving(certificate=None):
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
    # A handshake that fails is the client's affair.
    server.handle_error = lambda *_: None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.arrived = arrived
    try:
        yield server
    finally:
        server.shutdown()


@pytest.fixture
def receiver():
    with serving() as server:
        yield server


def certificate(folder, name):
    """A certificate for localhost that nobody but itself has signed."""
    path = folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", path.with_suffix(".key"), "-out", path, "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
    return path


def register(node, port, events, host="http://127.0.0.1"):
    body = {"url": f"{host}:{port}/hook", "events": events}
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


def test_tls_ends_at_a_certificate_that_is_trusted_or_nothing_is_sent(tmp_path):
    trusted, unknown = (certificate(tmp_path, name) for name in ("trusted", "unknown"))
    with (
        running_node(tmp_path, SSL_CERT_FILE=str(trusted)) as node,
        serving(trusted) as good,
        serving(unknown) as bad,
    ):
        for server, status in ((good, 200), (bad, 502)):
            hook = register(node, server.server_port, ["*"], "https://localhost")
            answer = node.call("POST", f"/v1/webhooks/{hook['id']}/test")
            assert answer.status_code == status, answer.text
            if status == 200:
                headers, body = server.arrived.get(timeout=PATIENCE_S)
                standardwebhooks.Webhook(hook["secret"]).verify(body, headers)
            else:
                assert answer.json()["target"]["error"] == "unreachable", answer.text
                assert server.arrived.empty()


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
