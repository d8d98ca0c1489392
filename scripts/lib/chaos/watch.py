"""How the server fares: memory, descriptors, processes, over time."""

import os
import statistics
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from family import Family
from processes import proportional_bytes

# Growth of the medians between the second and the last quarter of a run that is no leak.
RSS_SLACK = 48 * 2**20
DESCRIPTOR_SLACK = 40
# All processes: loads and forks are under way at any time, each with memory of its own for a moment.
PSS_SLACK = 192 * 2**20


@dataclass(frozen=True)
class Sample:
    """One look."""

    seconds: float
    # Resident memory and open descriptors of the front end.
    rss_bytes: int
    descriptors: int
    threads: int
    # Memory of everything, a shared page once.
    pss_bytes: int
    zygotes: int
    workers: int
    zombies: int


class Watch:
    """A thread that looks every `pause` seconds."""

    def __init__(self, family: Family, pause: float):
        self.family, self.pause = family, pause
        self.started = time.monotonic()
        self.samples: list[Sample] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.repeat, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def repeat(self) -> None:
        while not self.stopping.wait(self.pause):
            try:
                self.samples.append(self.look())
            except OSError:
                pass  # The server has ended, which is noticed elsewhere.

    def look(self) -> Sample:
        members = self.family.look()
        server = self.family.server.pid
        status = Path(f"/proc/{server}/status").read_text()
        field = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
        return Sample(
            seconds=round(time.monotonic() - self.started, 1),
            rss_bytes=int(field["VmRSS"]) * 1024,
            descriptors=len(os.listdir(f"/proc/{server}/fd")),
            threads=int(field["Threads"]),
            pss_bytes=sum(proportional_bytes(stat.pid) for stat in members.everyone),
            zygotes=len(members.zygotes),
            workers=len(members.workers),
            zombies=members.zombies,
        )

    def lasting_zombies(self, patience: float = 5.0) -> int:
        """Processes that ended and are not waited for; one that has just ended has a moment."""
        until = time.monotonic() + patience
        while (zombies := self.family.look().zombies) and time.monotonic() < until:
            time.sleep(0.05)
        return zombies

    def quarters(self) -> list[dict[str, float]]:
        """Medians of each quarter of the run."""
        size = len(self.samples) / 4
        parts = [self.samples[round(size * part) : round(size * (part + 1))] for part in range(4)]
        return [
            {name: statistics.median(asdict(sample)[name] for sample in part) for name in asdict(part[0])}
            for part in parts
            if part
        ]

    def growth(self) -> list[str]:
        """What grew from the second quarter, when all is warm, to the last."""
        quarters = self.quarters()
        if len(quarters) < 4:
            return []
        second, last = quarters[1], quarters[3]
        found = []
        if last["rss_bytes"] > second["rss_bytes"] * 1.1 + RSS_SLACK:
            found.append(f"resident memory from {second['rss_bytes'] / 2**20:.0f} to {last['rss_bytes'] / 2**20:.0f} MiB")
        if last["pss_bytes"] > second["pss_bytes"] + PSS_SLACK:
            found.append(f"memory of all processes from {second['pss_bytes'] / 2**20:.0f} to {last['pss_bytes'] / 2**20:.0f} MiB")
        if last["descriptors"] > second["descriptors"] + DESCRIPTOR_SLACK:
            found.append(f"descriptors from {second['descriptors']:.0f} to {last['descriptors']:.0f}")
        return found
