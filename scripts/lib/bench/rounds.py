"""The run: rounds of all servers in turn, so that what disturbs the machine for a while
disturbs all of them. Within a round each server runs alone, so that its memory is its own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client import first_answer
from measure import check_answer, measure, warm_up_seconds
from processes import Failure
from recovery import failures_under_load, replace_ms
from rscore import Rscore
from server import RSCORE, Paths, Server, output
from table import figure, rate
from workloads import FOREST, Workload

HERE = Path(__file__).resolve().parent

# Kills of a worker in a round; the slow ones once.
KILLS = {RSCORE: 5}

# Seconds for each of the eight calls whose in-process time is taken.
LIMIT_SECONDS = 0.5


class Run:
    """Everything that is measured, filled while it goes on."""

    def __init__(
        self,
        paths: Paths,
        servers: list[Server],
        workloads: list[Workload],
        seconds: float,
        note: Callable[[str], None],
    ):
        self.paths = paths
        self.servers = servers
        self.workloads = workloads
        self.seconds = seconds
        self.note = note
        # One entry per measurement.
        self.cells: list[dict[str, Any]] = []
        # One entry per start of a server.
        self.starts: list[dict[str, Any]] = []
        # One entry per round: milliseconds of calls within R.
        self.limits: list[dict[str, Any]] = []
        # Largest relative difference from R's answers, by server.
        self.differences: dict[str, float] = {}
        # Peers that could not be measured, and why.
        self.failures: dict[str, str] = {}

    def prepare(self) -> None:
        """Inputs, and what each server needs before its first start."""
        output(["Rscript", "--vanilla", str(HERE / "prepare.R"), str(self.paths.forest), str(self.paths.work)])
        for server in list(self.servers):
            self.attempt(server, server.prepare)
        for server in self.servers:
            if isinstance(server, Rscore):
                # Keys and certificate are made by the first start, which is not measured.
                with server.start(FOREST) as running:
                    server.mint(running)

    def estimate(self, rounds: int) -> float:
        """Seconds that the rounds will take, roughly."""
        per_server = sum(self.seconds + warm_up_seconds(self.seconds) + 0.5 for _ in self.workloads) + 8
        return rounds * (len(self.servers) * per_server + 8 * LIMIT_SECONDS + 2)

    def round(self, number: int) -> None:
        """One round; the order of the servers is another one each time."""
        self.note(f"round {number}: calls within R")
        text = output(["Rscript", "--vanilla", str(HERE / "limit.R"), str(self.paths.forest), str(LIMIT_SECONDS)])
        self.limits.append(json.loads(text))
        turn = number % max(1, len(self.servers))
        order = self.servers[turn:] + self.servers[:turn]
        for model in dict.fromkeys(workload.model for workload in self.workloads):
            for server in order:
                if server.key in self.failures:
                    continue
                self.attempt(server, lambda server=server, model=model: self.serve(number, server, model))

    def serve(self, number: int, server: Server, model: str) -> None:
        """Starts a server with a model, measures its workloads, and stops it."""
        workloads = [workload for workload in self.workloads if workload.model == model]
        with server.start(model) as running:
            endpoints = {rows: server.endpoint(model, rows) for rows in {workload.rows for workload in workloads}}
            start: dict[str, Any] = {"round": number, "server": server.key, "model": model}
            start["first_answer_s"] = first_answer(running, next(iter(endpoints.values())))
            for rows, endpoint in endpoints.items():
                expected = (self.paths.work / f"{model}-{rows}.expected").read_text().split()
                difference = check_answer(server, endpoint, [float(value) for value in expected])
                if model == FOREST:
                    self.differences[server.key] = max(difference, self.differences.get(server.key, 0.0))
            for workload in workloads:
                endpoint = endpoints[workload.rows]
                cell = measure(server, running, workload, endpoint, self.seconds, self.paths.work)
                self.cells.append({"round": number, "server": server.key, "workload": workload.name, **cell})
                self.note(
                    f"round {number}: {server.title}: {workload.title}: {rate(cell['requests_per_second'])} requests/s,"
                    f" p50 {figure(cell['p50_ms'])} ms, p99 {figure(cell['p99_ms'])} ms"
                    + (f", {cell['failed']} failed" if cell["failed"] else "")
                )
            if server.supervised and model == FOREST:
                kills = [replace_ms(server, running) for _ in range(KILLS.get(server.kind, 1))]
                start["replace_ms"] = kills
                start["kill_under_load"] = failures_under_load(running, endpoints[min(endpoints)], self.paths.work)
            self.starts.append(start)

    def attempt(self, server: Server, action: Callable[[], None]) -> None:
        """Without rscore there is nothing to compare; without a peer there is one column less."""
        try:
            action()
        except Failure as failure:
            if server.kind == RSCORE:
                raise
            self.failures[server.key] = str(failure)
            self.servers = [other for other in self.servers if other is not server]
            self.note(f"{server.title} is left out from here on: {failure}")
