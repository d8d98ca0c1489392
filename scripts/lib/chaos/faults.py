"""What is done to the server meanwhile: workers and zygotes are killed, and an operator changes things."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from family import Family
from processes import Stat, read_stat


@dataclass(frozen=True)
class Pauses:
    """Seconds between two faults of a kind."""

    worker: float = 0.2
    zygote: float = 30.0
    change: float = 5.0


class Faults:
    """Threads that inject faults until they are stopped."""

    def __init__(self, family: Family, pauses: Pauses, seed: int, change: Callable[[], str]):
        self.family = family
        self.chance = random.Random(seed)
        self.done: Counter = Counter()
        self.failures: list[str] = []
        self.stopping = threading.Event()
        jobs = [(pauses.worker, self.kill_worker), (pauses.zygote, self.kill_zygote)]
        jobs.append((pauses.change, lambda: self.change(change)))
        self.threads = [threading.Thread(target=self.repeat, args=job, daemon=True) for job in jobs if job[0] > 0]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, pause: float, fault: Callable[[], None]) -> None:
        due = time.monotonic() + pause
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + pause, time.monotonic())
            try:
                fault()
            except Exception as error:  # A fault that can't be injected is a failure of the run, not its end.
                self.failures.append(f"{type(error).__name__}: {error}")

    def kill_worker(self) -> None:
        self.kill("worker killed", self.family.look().workers)

    def kill_zygote(self) -> None:
        self.kill("zygote killed", self.family.look().zygotes)

    def kill(self, what: str, candidates: list[Stat]) -> None:
        if not candidates:
            return
        victim = self.chance.choice(candidates)
        now = read_stat(victim.pid)
        if now and now.started == victim.started:
            os.kill(victim.pid, signal.SIGKILL)
            self.done[what] += 1

    def change(self, change: Callable[[], str]) -> None:
        self.done[change()] += 1
