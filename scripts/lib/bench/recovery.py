"""What happens when a worker process is killed: how long until another is ready, and how
many requests fail when it happens under load.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from client import Endpoint
from load import Load
from processes import Failure, ServerProcess, read_stat
from rscore import Rscore
from server import Server

# Longest wait for a replacement, seconds.
LIMIT = 30.0
CONNECTIONS = 16
LOAD_SECONDS = 3.0


def replace_ms(server: Server, running: ServerProcess) -> float:
    """Milliseconds from SIGKILL of a worker of an idle server until another is ready."""
    workers = running.leaves()
    victim = workers[0]
    ready = counted(server) if isinstance(server, Rscore) else listening(running, {stat.pid for stat in workers})
    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic()
    while not ready():
        running.check_alive()
        if time.monotonic() - killed > LIMIT:
            raise Failure(f"{server.title} did not replace a killed worker within {LIMIT:.0f} s")
        time.sleep(0.0005)
    return 1000 * (time.monotonic() - killed)


def counted(server: Rscore) -> Callable[[], bool]:
    """By the server's own count: it has started one more, and has as many as before."""
    started, workers = server.metric("rscore_worker_starts_total"), server.metric("rscore_workers")

    def ready() -> bool:
        return (
            server.metric("rscore_worker_starts_total") > started and server.metric("rscore_workers") >= workers
        )

    return ready


def listening(running: ServerProcess, before: set[int]) -> Callable[[], bool]:
    """By the operating system: a process that was not there before listens on a port."""

    def ready() -> bool:
        return any(listens(stat.pid) for stat in running.leaves() if stat.pid not in before)

    return ready


def listens(pid: int) -> bool:
    """Whether a process holds a TCP socket in the state LISTEN (0A in /proc/net/tcp)."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            return False
        inodes |= {fields[9] for line in lines if (fields := line.split())[3] == "0A"}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return any(target in wanted for target in descriptors(pid))


def descriptors(pid: int) -> Iterator[str]:
    """What a process has open; descriptors that are closed meanwhile are left out."""
    try:
        entries = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for entry in entries:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{entry}")
        except OSError:
            continue


def failures_under_load(running: ServerProcess, endpoint: Endpoint, directory: Path) -> dict[str, int]:
    """Requests that were sent and that failed while a worker was killed after a third of the time."""
    victim = running.leaves()[0]
    with Load(endpoint, CONNECTIONS, LOAD_SECONDS, directory) as load:
        time.sleep(LOAD_SECONDS / 3)
        if (now := read_stat(victim.pid)) and now.started == victim.started:
            os.kill(victim.pid, signal.SIGKILL)
        report = load.report()
    return {"requests": report.requests, "failed": report.bad_status + report.socket_errors}
