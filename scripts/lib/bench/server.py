"""What every compared server has: a way to start it for a model, and a way to ask it.

Each runs with one thread per process for linear algebra, two scoring processes where
it can have several, and the same model file.
"""

import os
import socket
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from client import Endpoint
from processes import Failure, ServerProcess
from workloads import FOREST

WORKERS = 2

# Kinds of server; the best of kind R is what rscore is compared with.
RSCORE = "rscore"
R = "R"
PYTHON = "Python"


@dataclass(frozen=True)
class Paths:
    """Where things are; all absolute."""

    root: Path
    # Where cargo builds.
    target: Path
    # What prepare.R wrote, logs, and the servers' working directories.
    work: Path

    @property
    def forest(self) -> Path:
        return self.root / "models" / "boston" / "1" / "model.rds"


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """One of the compared servers."""

    key: str
    title: str
    kind = R
    # Whether a worker process that dies is replaced.
    supervised = False
    # Largest relative difference from R's own answer; 0 means the same bits. None: the model is another one.
    tolerance: float | None = 1e-14

    def __init__(self, paths: Paths):
        self.paths = paths
        self.directory = paths.work / self.key
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = 0

    def prepare(self) -> None:
        """Once, before the first start: Failure with what to do when something is missing."""

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment that serve a model on `self.port`."""
        raise NotImplementedError

    def endpoint(self, model: str, rows: int) -> Endpoint:
        """How predictions are asked of the server that was started last."""
        path = "/predict" if model == FOREST else "/trivial"
        return Endpoint(self.port, path, self.body(model, rows))

    def body(self, model: str, rows: int) -> bytes:
        return (self.paths.work / f"{model}-{rows}.json").read_bytes()

    def start(self, model: str) -> ServerProcess:
        self.port = free_port()
        command, environment = self.command(model)
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        log = self.paths.work / "logs" / f"{self.key}-{model}.log"
        return ServerProcess(self.title, command, {**threads, **environment}, self.directory, log)

    def version(self) -> str:
        raise NotImplementedError


def output(command: list[str], environment: dict[str, str] | None = None, directory: Path | None = None) -> str:
    """Standard output of a command without the blanks around it; Failure with its standard error,
    or when it takes minutes."""
    environment = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=directory, env=environment, timeout=300
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end within 300 s") from None
    if done.returncode != 0:
        raise Failure(f"{command[0]} failed with status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()
