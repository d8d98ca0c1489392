"""Processes of a server: start them in a session of their own, read what they use from
/proc, and stop them by process id.

A process belongs to a server when it is in the server's session or descends from its
first process. Never is anything looked up or ended by name.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A sentence for the person who runs the benchmark."""


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat says; see proc(5)."""

    pid: int
    state: str
    parent: int
    session: int
    # Seconds of its own, and of its children that ended and were waited for.
    own_cpu: float
    children_cpu: float
    # Tells a process from a later one with the same id.
    started: int

    @property
    def alive(self) -> bool:
        return self.state not in "ZX"


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in parentheses and may hold anything, so count from its end.
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(
        pid=pid,
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        own_cpu=sum(int(ticks) for ticks in fields[11:13]) / TICKS,
        children_cpu=sum(int(ticks) for ticks in fields[13:15]) / TICKS,
        started=int(fields[19]),
    )


def tree(root: int) -> list[Stat]:
    """The processes of the server whose first process is `root`."""
    everyone = [stat for name in os.listdir("/proc") if name.isdigit() and (stat := read_stat(int(name)))]
    members = {stat.pid for stat in everyone if stat.session == root or stat.pid == root}
    grown = True
    while grown:
        found = {stat.pid for stat in everyone if stat.parent in members} - members
        members |= found
        grown = bool(found)
    return [stat for stat in everyone if stat.pid in members]


def proportional_bytes(pid: int) -> int:
    """PSS: private pages, and of each shared page the share of one process. 0 for one that has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


class ServerProcess:
    """A server that runs. Use it as a context manager: leaving stops the server."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], directory: Path, log: Path):
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.started = time.monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def tree(self) -> list[Stat]:
        return tree(self.pid)

    def cpu_seconds(self) -> tuple[float, float]:
        """Of the whole server, and of its first process alone."""
        members = self.tree()
        total = sum(stat.own_cpu + stat.children_cpu for stat in members)
        return total, sum(stat.own_cpu for stat in members if stat.pid == self.pid)

    def pss_bytes(self) -> int:
        return sum(proportional_bytes(stat.pid) for stat in self.tree())

    def leaves(self) -> list[Stat]:
        """Processes without children: the workers of a server that has any."""
        living = [stat for stat in self.tree() if stat.alive]
        parents = {stat.parent for stat in living}
        return [stat for stat in living if stat.pid not in parents]

    def check_alive(self) -> None:
        """Raises with the end of the log when the first process has ended."""
        if self.process.poll() is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            raise Failure(
                f"{self.name} ended with status {self.process.returncode}; the end of {self.log}:\n  "
                + "\n  ".join(lines)
            )

    def stop(self, patience: float = 8.0) -> None:
        """SIGTERM to the first process, and SIGKILL to whatever of the server is left after `patience` seconds."""
        members = self.tree()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                members = self.tree()
        self.kill_left(members)
        self.process.wait()

    def kill_left(self, members: list[Stat], patience: float = 10.0) -> None:
        """Kills those of the server that live, also what they fork meanwhile, until none is left."""
        limit = time.monotonic() + patience
        while left := [stat for stat in {*members, *self.tree()} if still_lives(stat)]:
            for stat in left:
                try:
                    os.kill(stat.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if time.monotonic() > limit:
                raise Failure(f"{self.name} can't be stopped: process {left[0].pid} survives SIGKILL")
            # A signal is not delivered at once.
            time.sleep(0.005)


def still_lives(stat: Stat) -> bool:
    """Whether it is the same process still, and no later one with its id."""
    now = read_stat(stat.pid)
    return now is not None and now.alive and now.started == stat.started
