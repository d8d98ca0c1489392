"""One measurement: a warm-up, then the load, and what server and machine used meanwhile."""

import os
import time
from pathlib import Path
from typing import Any

from client import Endpoint
from load import Load, Report, busy_seconds
from processes import Failure, ServerProcess
from rscore import Rscore
from server import Server
from workloads import Workload

MEGABYTE = 1e6


def warm_up_seconds(seconds: float) -> float:
    """A quarter of the measurement, and what wrk can do at least."""
    return max(1.0, seconds / 4)


def check_answer(server: Server, endpoint: Endpoint, expected: list[float]) -> float:
    """Largest relative difference from R's own answer; Failure when it is more than the server may have."""
    got = endpoint.predictions()
    if len(got) != len(expected):
        raise Failure(f"{server.title} gave {len(got)} predictions for {len(expected)} rows")
    difference = max(abs(mine - theirs) / max(abs(theirs), 1e-300) for mine, theirs in zip(got, expected, strict=True))
    if server.tolerance is not None and difference > server.tolerance:
        raise Failure(f"{server.title} gave other numbers than R: they differ by {difference:.3g}")
    return difference


def measure(
    server: Server, running: ServerProcess, workload: Workload, endpoint: Endpoint, seconds: float, directory: Path
) -> dict[str, Any]:
    """What one round says of one cell."""
    memory = warm_up(running, workload, endpoint, warm_up_seconds(seconds), directory)
    batches_before = batches(server)
    busy, (cpu_before, first_before), clock = busy_seconds(), running.cpu_seconds(), time.monotonic()
    with Load(endpoint, workload.connections, seconds, directory) as load:
        report = load.report()
    elapsed = time.monotonic() - clock
    cpu_after, first_after = running.cpu_seconds()
    cpu = cpu_after - cpu_before
    busy = busy_seconds() - busy
    running.check_alive()
    result = figures(report, cpu, first_after - first_before)
    result["memory_mb"] = memory / MEGABYTE
    # What worked on this machine and was neither the server nor wrk, as a share of all cores.
    foreign = max(0.0, busy - cpu - report.cpu) / (elapsed * (os.cpu_count() or 1))
    result["foreign_cpu_share"] = foreign
    result["batch_rows"] = mean_batch(batches_before, batches(server))
    return result


def figures(report: Report, cpu: float, first_cpu: float) -> dict[str, Any]:
    answered = max(1, report.good)
    return {
        "requests_per_second": report.good / report.seconds,
        "p50_ms": report.p50_ms,
        "p90_ms": report.p90_ms,
        "p99_ms": report.p99_ms,
        "max_ms": report.max_ms,
        "requests": report.requests,
        "failed": report.bad_status + report.socket_errors,
        "cpu_ms_per_request": 1000 * cpu / answered,
        # The front end's, of a server that has one.
        "first_process_cpu_ms_per_request": 1000 * first_cpu / answered,
        # Of one core.
        "load_cpu_share": report.cpu / report.seconds,
    }


def warm_up(running: ServerProcess, workload: Workload, endpoint: Endpoint, seconds: float, directory: Path) -> int:
    """Load before the measurement; returns the server's PSS in bytes near its end, which
    is not read during the measurement because reading it stops the processes for moments."""
    with Load(endpoint, workload.connections, seconds, directory) as load:
        time.sleep(0.7 * seconds)
        memory = running.pss_bytes()
        load.report()
    running.check_alive()
    return memory


def batches(server: Server) -> tuple[float, float] | None:
    """Rows and calls of R so far, where the server counts them."""
    if not isinstance(server, Rscore):
        return None
    return server.metric("rscore_batch_rows_sum"), server.metric("rscore_batch_rows_count")


def mean_batch(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])
