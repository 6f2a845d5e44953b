"""scripts/compose.yaml and the Dockerfile say together how three nodes run.

No container engine is needed: each service runs as a process with the arguments and the environment
that its container would have, its mounts are directories, and its addresses are ports of loopback.
"""

import contextlib
import os
import re
import subprocess
from pathlib import Path

import requests
import yaml

from conftest import PATIENCE_S, free_port, wait_until_ready

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "scripts/compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NODES = ["node-1", "node-2", "node-3"]


def image_environment():
    """The ENV of the image."""
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    return dict(re.findall(r"(AUTHRAI_[A-Z_]+)=(\S+)", final))


class Containers:
    """What a container engine would make of the compose file."""

    def __init__(self, directory):
        self.directory = directory
        binary = Path(os.environ["AUTHRAI_BIN"]).resolve()
        self.path = f"{binary.parent}:{os.environ['PATH']}"
        self.peers = {name: free_port() for name in NODES}
        self.apis = {name: free_port() for name in NODES}

    def here(self, service, text):
        """What stands for an address or a mounted directory of this service."""
        text = re.sub(r"(node-\d):7600", lambda node: f"127.0.0.1:{self.peers[node[1]]}", text)
        if service in self.peers:
            text = text.replace("0.0.0.0:7600", f"127.0.0.1:{self.peers[service]}")
            text = text.replace("0.0.0.0:8080", f"127.0.0.1:{self.apis[service]}")
        text = re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", text)
        for mount in COMPOSE["services"][service]["volumes"]:
            volume, target = mount.split(":")[:2]
            (self.directory / volume).mkdir(exist_ok=True)
            text = text.replace(target, str(self.directory / volume))
        return text

    def start(self, service):
        """Its process, and where it logs."""
        spec = COMPOSE["services"][service]
        arguments = [*spec.get("entrypoint", ["authrai"]), *spec["command"]]
        settings = {
            "AUTHRAI__DATA_DIR": "/var/lib/authrai",
            **image_environment(),
            **spec.get("environment", {}),
        }
        environment = {name: self.here(service, value) for name, value in settings.items()}
        log = self.directory / f"{service}.log"
        with log.open("a") as output:
            process = subprocess.Popen(
                [self.here(service, argument) for argument in arguments],
                env={"PATH": self.path, **environment},
                stdout=output,
                stderr=output,
            )
        return process, log

    def complete(self, service):
        """Runs it to its successful end; what it printed."""
        process, log = self.start(service)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        return log.read_text()

    @contextlib.contextmanager
    def up(self):
        """What `docker compose up` does; the output of `init`."""
        self.complete("certs")
        said = self.complete("init")
        processes = []
        try:
            for name in NODES:
                processes.append(self.start(name))
            for name, (process, log) in zip(NODES, processes):
                wait_until_ready(f"http://127.0.0.1:{self.apis[name]}", process, log)
            yield said
        finally:
            for process, _ in processes:
                process.terminate()
            for process, log in processes:
                assert process.wait(PATIENCE_S) == 0, log.read_text()


def test_the_compose_file_runs_a_cluster_of_three_and_runs_it_again(tmp_path):
    containers = Containers(tmp_path)
    operator_key = ""
    for _ in range(2):
        with containers.up() as said:
            operator_key = operator_key or re.search(r"rai_op_[\w-]+", said)[0]
            for name in NODES:
                answer = requests.get(
                    f"http://127.0.0.1:{containers.apis[name]}/v1/cluster",
                    headers={"Authorization": f"Bearer {operator_key}"},
                    timeout=PATIENCE_S,
                )
                members = answer.json()["members"]
                assert [member["voter"] for member in members] == [True, True, True]


def test_the_image_is_built_from_what_is_there_and_not_ignored():
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = [name for line in sources for name in line.split()]
    assert len(names) > 5
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    for name in names:
        assert (ROOT / name).exists(), f"there is no {name}"
        assert name in sent, f"{name} is ignored by .dockerignore"
