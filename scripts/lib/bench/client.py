"""A small HTTP client: one request at a time, over TLS where the server has it. It checks
answers and times the first one; the load itself comes from wrk.
"""

import http.client
import json
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import Failure, ServerProcess


@dataclass(frozen=True)
class Endpoint:
    """Where a request goes, what it carries, and how the predictions are found in the answer."""

    port: int
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    # CA certificate of a server with TLS.
    ca: Path | None = None
    # Key of the object that holds the predictions; None for a bare array.
    key: str | None = None

    @property
    def url(self) -> str:
        scheme = "https" if self.ca else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.path}"

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        if self.ca:
            context = ssl.create_default_context(cafile=self.ca)
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, timeout: float = 30.0) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        connection = self.connect(timeout)
        try:
            connection.request("POST", self.path, self.body, {"Content-Type": "application/json", **self.headers})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def predictions(self) -> list[float]:
        """The numbers of an answer; Failure when it is anything else."""
        try:
            status, body = self.ask()
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"{self.url} gave no answer: {error!r}") from error
        shown = body[:300].decode(errors="replace")
        if status != 200:
            raise Failure(f"{self.url} answered {status}: {shown}")
        try:
            answer: Any = json.loads(body)
            for step in self.key.split(".") if self.key else []:
                answer = answer[int(step) if step.isdigit() else step]
        except (ValueError, LookupError, TypeError) as error:
            raise Failure(f"{self.url} answered something without predictions: {shown}") from error
        if not isinstance(answer, list) or not all(isinstance(value, int | float) for value in answer):
            raise Failure(f"{self.url} answered no array of numbers: {shown}")
        return answer


def first_answer(server: ServerProcess, endpoint: Endpoint, limit: float = 90.0) -> float:
    """Seconds from the start of the process to its first prediction."""
    while True:
        try:
            if endpoint.ask(timeout=limit)[0] == 200:
                return time.monotonic() - server.started
        except (OSError, http.client.HTTPException):
            pass
        server.check_alive()
        if time.monotonic() - server.started > limit:
            raise Failure(f"{server.name} gave no prediction within {limit:.0f} s; see {server.log}")
        time.sleep(0.002)
