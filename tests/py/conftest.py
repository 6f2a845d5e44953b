"""A real node for the tests: `authrai dev` from the binary that AUTHRAI_BIN names."""

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

import pytest
import requests

PATIENCE_S = 30


@dataclass
class Node:
    """A running node and its keys."""

    url: str
    api_key: str
    operator_key: str

    def call(self, method, path, key=None, **options):
        """Any request, with the API key unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.api_key}"}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)

    def post(self, path, body, status):
        """A POST that must be answered with this status; its body."""
        answer = self.call("POST", path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def agent(self, **fields):
        """Registers an agent."""
        return self.post("/v1/agents", {"name": "tester", "owner": "tests", **fields}, 201)

    def token(self, agent_id, **fields):
        """Issues a token."""
        body = {"agent_id": agent_id, "scope": ["a.read"], **fields}
        return self.post("/v1/tokens", body, 201)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_ready(url, process, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the node ended with {process.returncode}:\n{log.read_text()}")
        try:
            if requests.get(url + "/readyz", timeout=PATIENCE_S).status_code == 200:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.02)
    pytest.fail(f"the node was not ready within {PATIENCE_S} s:\n{log.read_text()}")


def serve_nxdomain(socket_):
    """A DNS server that knows no name: every question comes back with NXDOMAIN."""
    while True:
        try:
            query, sender = socket_.recvfrom(4096)
        except OSError:
            return
        # The id, flags of a response to a recursive query, one question and nothing else.
        header = query[:2] + bytes([0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0])
        question_end = query.index(0, 12) + 5
        socket_.sendto(header + query[12:question_end], sender)


@pytest.fixture(scope="session")
def dns():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        threading.Thread(target=serve_nxdomain, args=(server,), daemon=True).start()
        yield "127.0.0.1:%d" % server.getsockname()[1]


@contextlib.contextmanager
def running_node(folder, **env):
    """A node with its data in this folder, and more in its environment."""
    out, log = folder / "out", folder / "log"
    url = f"http://127.0.0.1:{free_port()}"
    command = [os.environ["AUTHRAI_BIN"], "dev", "--listen", url.removeprefix("http://")]
    command += ["--data-dir", str(folder / "data")]
    with out.open("w") as stdout, log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, **env})
    try:
        wait_until_ready(url, process, log)
        shown = out.read_text()
        api_key = re.search(r"rai_pk_live_\S+", shown).group()
        operator_key = re.search(r"rai_op_\S+", shown).group()
        yield Node(url, api_key, operator_key)
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "panic" not in log.read_text(), log.read_text()


# A node for each file: what one file does to its keys is no other's trouble.
@pytest.fixture(scope="module")
def node(tmp_path_factory, dns):
    with running_node(tmp_path_factory.mktemp("node"), AUTHRAI_DNS__SERVERS=dns) as node:
        yield node
