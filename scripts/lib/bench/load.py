"""Runs wrk against an endpoint and reads its report."""

import json
import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from client import Endpoint
from processes import Failure

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Report:
    """What wrk saw."""

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    # Answers with a status of 400 or more.
    bad_status: int
    # Connections that were refused, broken, or silent for too long.
    socket_errors: int
    # CPU seconds of wrk itself.
    cpu: float

    @property
    def good(self) -> int:
        return self.requests - self.bad_status


class Load:
    """wrk at work; a context manager, so that it never outlives its purpose."""

    def __init__(self, endpoint: Endpoint, connections: int, seconds: float, directory: Path):
        # The token is in a file that only this user can read, not on a command line.
        self.files = tempfile.TemporaryDirectory(dir=directory)
        body, headers = Path(self.files.name, "body"), Path(self.files.name, "headers")
        body.write_bytes(endpoint.body)
        lines = {"Content-Type": "application/json", **endpoint.headers}
        headers.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
        self.limit = seconds + 40
        self.before = resource.getrusage(resource.RUSAGE_CHILDREN)
        # One thread: it can send several times what the servers answer, and takes less of
        # the cores that they share.
        self.process = subprocess.Popen(
            ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s",
             "--timeout", "30s", "--script", str(SCRIPT), endpoint.url, "--", str(body), str(headers)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.files.cleanup()

    def report(self) -> Report:
        """Waits for the end."""
        try:
            output, _ = self.process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"wrk did not end within {self.limit:.0f} s") from None
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
        if self.process.returncode != 0 or not lines:
            raise Failure(f"wrk failed with status {self.process.returncode}: {output.strip()[-500:]}")
        cpu = after.ru_utime + after.ru_stime - self.before.ru_utime - self.before.ru_stime
        return Report(**json.loads(lines[0].removeprefix("RESULT ")), cpu=cpu)


def busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    # user nice system idle iowait irq softirq steal
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
