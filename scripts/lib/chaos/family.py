"""Which of the server's processes is what. A worker whose zygote died is adopted by the
server and looks like a zygote from then on, so each is known by its first parent.
"""

import threading
from dataclasses import dataclass

from processes import ServerProcess, Stat


@dataclass(frozen=True)
class Members:
    """The processes that live, and the number of those that ended and were not waited for."""

    everyone: list[Stat]
    zygotes: list[Stat]
    workers: list[Stat]
    zombies: int


class Family:
    """Remembers the first parent of each process that was seen."""

    def __init__(self, server: ServerProcess):
        self.server = server
        self.first_parents: dict[tuple[int, int], int] = {}
        self.lock = threading.Lock()

    def look(self) -> Members:
        everyone = self.server.tree()
        with self.lock:
            self.first_parents = {
                (stat.pid, stat.started): self.first_parents.get((stat.pid, stat.started), stat.parent)
                for stat in everyone
            }
            living = [stat for stat in everyone if stat.alive and stat.pid != self.server.pid]
            zygotes = [stat for stat in living if self.first_parents[stat.pid, stat.started] == self.server.pid]
        workers = [stat for stat in living if stat not in zygotes]
        return Members(everyone, zygotes, workers, sum(stat.state == "Z" for stat in everyone))
