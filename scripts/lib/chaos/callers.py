"""The callers: connections in a process of their own that send one request after the
other, and judge every answer.
"""

import asyncio
import multiprocessing
import random
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from cases import Cases, Request, is_right

# Longest wait for an answer, seconds: above every time limit of the server.
PATIENCE = 60.0
# Failures that are told in full.
TOLD = 40


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    port: int
    token: str
    ca: Path


@dataclass(frozen=True)
class Mix:
    """One in so many does what the name says."""

    poison: int = 1000
    hang: int = 1500
    bad: int = 500
    leave: int = 100


@dataclass
class Tally:
    """What the callers saw."""

    sent: int = 0
    right: int = 0
    wrong: int = 0
    left: int = 0
    # By kind and status: what requests earned themselves.
    own: Counter = field(default_factory=Counter)
    # By model, kind and status or error: what no request earned.
    lost: Counter = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.sent += other.sent
        self.right += other.right
        self.wrong += other.wrong
        self.left += other.left
        self.own += other.own
        self.lost += other.lost
        self.told += other.told
        self.milliseconds += other.milliseconds


class Load:
    """Processes that call until they are told to stop."""

    def __init__(self, target: Target, mix: Mix, cases: Path, connections: int, seed: int, processes: int = 2):
        context = multiprocessing.get_context("fork")
        self.workers = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            share = connections // processes + (number < connections % processes)
            arguments = (target, mix, cases, share, seed * 1000 + number, theirs)
            process = context.Process(target=call, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.workers.append((process, ours))

    def stop(self) -> Tally:
        """Every request that is under way is answered first."""
        for _, pipe in self.workers:
            pipe.send("stop")
        tally = Tally()
        for process, pipe in self.workers:
            tally.add(pipe.recv())
            process.join()
        return tally


def call(target: Target, mix: Mix, path: Path, connections: int, seed: int, pipe: Pipe) -> None:
    cases = Cases(path, seed, mix.poison, mix.hang, mix.bad)
    caller = Caller(target, mix, cases, random.Random(seed + 1))
    asyncio.run(caller.run(connections, pipe))


class Caller:
    """The connections of one process."""

    def __init__(self, target: Target, mix: Mix, cases: Cases, chance: random.Random):
        self.target, self.mix, self.cases, self.chance = target, mix, cases, chance
        self.context = ssl.create_default_context(cafile=target.ca)
        self.tally = Tally()
        # Answers that were found right: the same bytes need not be read again.
        self.known: dict[bytes, set[bytes]] = {}
        self.stopping = False

    async def run(self, connections: int, pipe: Pipe) -> None:
        callers = [asyncio.create_task(self.repeat()) for _ in range(connections)]
        loop = asyncio.get_running_loop()
        asked = loop.create_future()
        loop.add_reader(pipe.fileno(), lambda: asked.done() or asked.set_result(None))
        await asked
        loop.remove_reader(pipe.fileno())
        self.stopping = True
        await asyncio.gather(*callers)
        pipe.recv()
        pipe.send(self.tally)

    async def repeat(self) -> None:
        streams = None
        while not self.stopping:
            request = self.cases.draw()
            leaves = request.kind == "good" and self.chance.random() < 1 / self.mix.leave
            self.tally.sent += 1
            try:
                if streams is None:
                    streams = await asyncio.wait_for(self.connect(), PATIENCE)
                if leaves:
                    await self.leave(request, streams)
                    streams = None
                    self.tally.left += 1
                    continue
                started = time.monotonic()
                status, body, keep = await asyncio.wait_for(self.ask(request, streams), PATIENCE)
                self.judge(request, status, body, 1000 * (time.monotonic() - started))
                if not keep:
                    streams[1].close()
                    streams = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ssl.SSLError, ValueError) as error:
                streams = None
                self.lose(request, type(error).__name__, str(error))
        if streams:
            streams[1].close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.target.port, ssl=self.context, limit=2**20)

    def message(self, request: Request) -> bytes:
        timeout = f"X-Request-Timeout-Ms: {request.timeout_ms}\r\n" if request.timeout_ms else ""
        head = (
            f"POST /models/{request.model}/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.target.token}\r\n{timeout}Content-Length: {len(request.body)}\r\n\r\n"
        )
        return head.encode() + request.body

    async def ask(self, request: Request, streams) -> tuple[int, bytes, bool]:
        reader, writer = streams
        writer.write(self.message(request))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.index(b"content-length: ") + 16
        body = await reader.readexactly(int(head[length : head.index(b"\r\n", length)]))
        return int(head[9:12]), body, b"connection: close" not in head

    async def leave(self, request: Request, streams) -> None:
        """Goes away in the middle of the request, after it, or in the middle of the answer."""
        reader, writer = streams
        message = self.message(request)
        writer.write(message[: self.chance.choice([len(message), len(message), len(message) // 2])])
        await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.01, 0.05]))
        writer.transport.abort()

    def judge(self, request: Request, status: int, body: bytes, milliseconds: float) -> None:
        if status not in request.statuses:
            self.lose(request, str(status), body[:300].decode(errors="replace"))
        elif status == 200:
            known = self.known.setdefault(request.body, set())
            if request.kind != "good" or body in known or is_right(request, body):
                if request.kind == "good" and len(known) < 4:
                    known.add(body)
                self.tally.right += 1
                self.tally.milliseconds.append(milliseconds)
            else:
                self.tally.wrong += 1
                self.tell(f"WRONG {request.model} {request.body[:200]!r}: {body[:300]!r}")
        else:
            self.tally.own[request.kind, status] += 1

    def lose(self, request: Request, what: str, detail: str) -> None:
        self.tally.lost[request.model, request.kind, what] += 1
        self.tell(f"{what} {request.model} {request.kind}: {detail}")

    def tell(self, text: str) -> None:
        if len(self.tally.told) < TOLD:
            self.tally.told.append(f"{time.strftime('%H:%M:%S')} {text}")
