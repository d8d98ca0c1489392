"""Three times what the server can do, for a minute: `scripts/bench --overload`.

The model is R code that keeps a core busy for about 50 ms a call and is never joined, so
that asking and refusing costs little on the cores that server and client share. Requests
leave by the clock, whether earlier ones were answered or not (an open loop): a server that
slows down is not offered less. Latency counts from when a request was due.
"""

import asyncio
import http.client
import shutil
import ssl
import statistics
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from client import Endpoint, first_answer
from processes import Failure, ServerProcess
from rscore import Rscore
from server import Paths
from table import figure

MODEL = "busy"
SCRIPT = """\
score <- function(model, data) {
  sum <- 0
  for (i in seq_len(400000)) sum <- sum + i %% 7
  data$x + 0 * sum
}
"""
MANIFEST = 'script = "score.R"\nrow_independent = false\n\n[columns]\nx = { type = "double" }\n'

# Longest time that a request may be expected to wait.
QUEUE_SECONDS = 0.2
FACTOR = 3
SECONDS = 60
# More connections than the server can have requests in hand; beyond, a request counts as not sent.
CONNECTIONS = 128
# Between two looks at the server's memory.
MEMORY_SECONDS = 5
MEGABYTE = 1e6


class Busy(Rscore):
    """rscore with the busy model, and a bound on the time in the queue."""

    def prepare(self) -> None:
        shutil.rmtree(self.directory / MODEL, ignore_errors=True)
        bundle = self.directory / MODEL / MODEL / "1"
        bundle.mkdir(parents=True)
        (bundle / "score.R").write_text("load <- function(dir) NULL\n" + SCRIPT)
        (bundle / "rscore.toml").write_text(MANIFEST)

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        command, environment = super().command(model)
        bound = {"RSCORE_LIMITS__MAX_QUEUE_TIME": f"{1000 * QUEUE_SECONDS:.0f}ms"}
        return command, {**environment, **bound, "RSCORE_LOG__FILTER": "warn"}

    def body(self, model: str, rows: int) -> bytes:
        return b'[{"x": 1.5}]'


@dataclass
class Outcome:
    """What came of the offered requests."""

    offered: int = 0
    accepted_ms: list[float] = field(default_factory=list)
    refused: int = 0
    refused_without_advice: int = 0
    other: int = 0
    not_sent: int = 0
    # PSS of the server's processes, every few seconds.
    memory: list[int] = field(default_factory=list)

    def memory_gained(self) -> float:
        """From the first half of the time to the second; workers come and go, so of medians."""
        middle = len(self.memory) // 2
        return statistics.median(self.memory[middle:]) - statistics.median(self.memory[:middle])


class Client:
    """Connections that are kept, and one request at a time on each."""

    def __init__(self, endpoint: Endpoint):
        self.address = urlsplit(endpoint.url)
        self.context = ssl.create_default_context(cafile=endpoint.ca)
        head = [f"POST {endpoint.path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        head += [f"Content-Length: {len(endpoint.body)}", *(f"{name}: {value}" for name, value in endpoint.headers.items())]
        self.message = "\r\n".join([*head, "", ""]).encode() + endpoint.body
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.open = 0

    async def ask(self) -> tuple[int, dict[str, str]] | None:
        """Status and headers; None when no connection is left."""
        if self.idle:
            reader, writer = self.idle.pop()
        elif self.open < CONNECTIONS:
            self.open += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", self.address.port, ssl=self.context)
        else:
            return None
        writer.write(self.message)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        await reader.readexactly(int(headers["content-length"]))
        self.idle.append((reader, writer))
        return int(head[0].split()[1]), headers


async def offer(running: ServerProcess, endpoint: Endpoint, rate: float, seconds: float) -> Outcome:
    """So many requests a second, by the clock."""
    client, outcome, tasks = Client(endpoint), Outcome(), set()
    began = time.perf_counter()

    async def request(due: float) -> None:
        try:
            answer = await client.ask()
        except (OSError, asyncio.IncompleteReadError, KeyError, ValueError):
            outcome.other += 1
            return
        if answer is None:
            outcome.not_sent += 1
        elif answer[0] == http.client.OK:
            outcome.accepted_ms.append(1000 * (time.perf_counter() - due))
        elif answer[0] == http.client.TOO_MANY_REQUESTS:
            outcome.refused += 1
            outcome.refused_without_advice += not answer[1].get("retry-after", "").isdigit()
        else:
            outcome.other += 1

    async def watch() -> None:
        while True:
            outcome.memory.append(await asyncio.to_thread(running.pss_bytes))
            await asyncio.sleep(MEMORY_SECONDS)

    watching = asyncio.create_task(watch())
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        outcome.offered += 1
        task = asyncio.create_task(request(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    watching.cancel()
    return outcome


async def capacity(endpoint: Endpoint, seconds: float) -> float:
    """Answers per second to four callers that each wait for their answer."""
    client, answered, until = Client(endpoint), 0, time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal answered
        while time.perf_counter() < until:
            answer = await client.ask()
            answered += answer is not None and answer[0] == http.client.OK

    await asyncio.gather(*(caller() for _ in range(4)))
    return answered / seconds


def run(paths: Paths, note: Any) -> int:
    """Measures, prints a table, and says with the exit code whether all bounds were kept."""
    server = Busy(paths)
    server.prepare()
    with server.start(MODEL) as running:
        server.mint(running)
        endpoint = server.endpoint(MODEL, 1)
        first_answer(running, endpoint)
        rows = measure(running, endpoint, note)
    width = max(len(name) for name, _, _ in rows)
    for name, value, kept in rows:
        print(f"{name:<{width}}  {value}" + ("" if kept is None else "  kept" if kept else "  MISSED"))
    return 0 if all(kept is not False for _, _, kept in rows) else 1


def processor_seconds(running: ServerProcess) -> tuple[float, float, float]:
    """Spent so far by R, by the front end and by this process."""
    total, front = running.cpu_seconds()
    return total - front, front, time.process_time()


def measure(running: ServerProcess, endpoint: Endpoint, note: Any) -> list[tuple[str, str, bool | None]]:
    alone = []
    for _ in range(20):
        began = time.perf_counter()
        status, _ = endpoint.ask()
        alone.append(1000 * (time.perf_counter() - began))
        if status != http.client.OK:
            raise Failure(f"the unloaded server answered {status}")
    unloaded = statistics.median(alone)
    note("overload: capacity")
    most = asyncio.run(capacity(endpoint, 10))
    note(f"overload: {FACTOR} times {figure(most)} requests/s for {SECONDS} s")
    asyncio.run(offer(running, endpoint, FACTOR * most, 3))
    spent = processor_seconds(running)
    outcome = asyncio.run(offer(running, endpoint, FACTOR * most, SECONDS))
    cores = [(after - before) / SECONDS for before, after in zip(spent, processor_seconds(running))]
    grown = outcome.memory_gained() / MEGABYTE
    running.check_alive()
    goodput = len(outcome.accepted_ms) / SECONDS
    percentiles = statistics.quantiles(outcome.accepted_ms, n=100)
    bound = 2 * unloaded + 1000 * QUEUE_SECONDS
    return [
        ("one request alone, ms", figure(unloaded), None),
        ("capacity, requests/s", figure(most), None),
        ("offered, requests/s", figure(outcome.offered / SECONDS), None),
        ("answered, requests/s (at least 90 % of capacity)", figure(goodput), goodput >= 0.9 * most),
        ("accepted p50, ms", figure(percentiles[49]), None),
        (f"accepted p99, ms (at most {figure(bound)}: twice one alone, and the time in the queue)", figure(percentiles[98]), percentiles[98] <= bound),
        ("refused with 429 and Retry-After", f"{outcome.refused - outcome.refused_without_advice:,}", outcome.refused > 0),
        ("refused without Retry-After (none)", f"{outcome.refused_without_advice:,}", outcome.refused_without_advice == 0),
        ("anything else (none)", f"{outcome.other:,}", outcome.other == 0),
        ("not sent for want of a connection (none)", f"{outcome.not_sent:,}", outcome.not_sent == 0),
        ("cores used by R, by the front end, and by this load generator", ", ".join(f"{used:.2f}" for used in cores), None),
        ("memory gained from the first half minute to the second, MB (at most 10)", figure(grown), grown <= 10),
    ]  # fmt: skip
