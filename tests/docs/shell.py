"""One bash for the blocks of a page, so that variables and functions live on between them."""

import os
import pathlib
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request

from page import Block, PageError

# How each kind of program is run. Statements of a shell block run in the page's own bash.
RUNNERS = {"sh": "source {}", "r": "Rscript --vanilla {}", "python": "python3 {}", "js": "node {}"}
SUFFIXES = {"sh": "sh", "r": "R", "python": "py", "js": "mjs"}
# Longest time for a block, and for a server until it is ready.
PATIENCE = 60.0
READY = "http://127.0.0.1:9090/readyz"


class Shell:
    """Runs blocks in a folder. Use it as a context manager."""

    def __init__(self, folder: pathlib.Path, notes: pathlib.Path, environment: dict[str, str]):
        self.notes = notes
        self.count = 0
        self.server: int | None = None
        self.server_log = notes / "server.log"
        # The bash tells the status of each block through a pipe, so that output stays output.
        self.reports, end = os.pipe()
        self.end = end
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[end],
            start_new_session=True,
        )
        os.close(end)

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            if self.server is not None and failure[0] is None:
                self.stop_server()
        finally:
            for group in (self.server, self.bash.pid):
                if group is not None:
                    try:
                        os.killpg(group, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            self.bash.stdin.close()
            self.bash.wait()
            os.close(self.reports)

    def run(self, block: Block) -> tuple[int, str]:
        """The exit status and all that was printed."""
        script, output = self._write(block), self.notes / f"{self.count}.out"
        runner = RUNNERS[block.kind].format(f"'{script}'")
        # The first command that fails ends the bash, unless a failure is expected.
        strict = "" if "exit code" in block.marks else "set -e; "
        status = self._ask(f"{strict}{runner} </dev/null >'{output}' 2>&1; status=$?; set +e; echo $status >&{self.end}")
        return status, output.read_text(errors="replace")

    def start(self, block: Block) -> None:
        """Starts a server in the background, in place of the one before, and waits until it is ready."""
        if self.server is not None:
            self.stop_server()
        script = self._write(block)
        # A process group of its own, that can be sent SIGINT as from a terminal.
        self.server = self._ask(
            f"set -m; (trap : INT; source '{script}') </dev/null >'{self.server_log}' 2>&1 {self.end}>&- & set +m; echo $! >&{self.end}"
        )
        deadline = time.monotonic() + PATIENCE
        while not is_ready():
            if time.monotonic() > deadline or not is_alive(self.server):
                raise PageError(f"the server is not ready:\n{self.server_log.read_text(errors='replace')}")
            time.sleep(0.05)

    def stop_server(self) -> None:
        """Interrupts the server, which must end with 0."""
        server, self.server = self.server, None
        os.killpg(server, signal.SIGINT)
        if status := self._ask(f"wait {server}; echo $? >&{self.end}"):
            raise PageError(f"the server ended with status {status}:\n{self.server_log.read_text(errors='replace')}")

    def _write(self, block: Block) -> pathlib.Path:
        self.count += 1
        script = self.notes / f"{self.count}.{SUFFIXES[block.kind]}"
        script.write_text(block.text)
        return script

    def _ask(self, command: str) -> int:
        """Has bash run one line that reports a number; the status of bash itself when it ended at that."""
        self.bash.stdin.write(f"{command}\n".encode())
        self.bash.stdin.flush()
        report = b""
        deadline = time.monotonic() + PATIENCE
        while not report.endswith(b"\n"):
            if not select.select([self.reports], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise PageError(f"no end after {PATIENCE:.0f} s")
            if not (piece := os.read(self.reports, 64)):
                return self.bash.wait()
            report += piece
        return int(report)


def is_ready() -> bool:
    try:
        with urllib.request.urlopen(READY, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def is_alive(process: int) -> bool:
    """Whether it runs; one that ended is a zombie until bash waits for it."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
