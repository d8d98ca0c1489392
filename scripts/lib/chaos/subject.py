"""The server under test: started as an operator would, over TLS with tokens."""

import http.client
import re
import ssl
import subprocess
import time
from contextlib import closing
from pathlib import Path

from callers import Target
from certificates import Certificates
from processes import Failure, ServerProcess
from server import output

SETTINGS = """\
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
shutdown_delay = "500ms"
credentials_interval = "2s"

[tls]
certificate = "{certificate}"
key = "{key}"

[models]
poll_interval = "1s"
settle = "500ms"

[workers]
count = {workers}
interrupt_grace = "500ms"
[log]
format = "json"
"""

# Longest wait for a reload by the API, seconds.
RELOAD = 60.0
# Longest wait for the start and for the end, seconds.
START = 90.0
STOP = 60.0


class Subject:
    """rscore with throw-away keys of tokens, which are made in its working directory."""

    def __init__(self, binary: Path, directory: Path, models: Path, workers: int, certificates: Certificates):
        directory.mkdir(parents=True, exist_ok=True)
        self.binary, self.directory, self.certificates = binary, directory, certificates
        self.log = directory / "server.log"
        (directory / "rscore.toml").write_text(
            SETTINGS.format(workers=workers, certificate=certificates.certificate, key=certificates.key)
        )
        command = [str(binary), "serve", "--dev", "--models", str(models)]
        self.process = ServerProcess("rscore", command, {}, directory, self.log)
        self.port = self.admin_port = 0

    def wait_until_ready(self) -> None:
        limit = time.monotonic() + START
        while not self.ready():
            self.process.check_alive()
            if time.monotonic() > limit:
                raise Failure(f"the server was not ready within {START:.0f} s; see {self.log}")
            time.sleep(0.05)

    def ready(self) -> bool:
        if not self.admin_port:
            # The system chose the ports, and the log has them.
            ports = re.search(r":(\d+) for callers and on [^ ]*:(\d+) for", self.log.read_text(errors="replace"))
            if not ports:
                return False
            self.port, self.admin_port = int(ports.group(1)), int(ports.group(2))
        try:
            return self.operator("/readyz")[0] == 200
        except OSError:
            return False

    def target(self) -> Target:
        return Target(self.port, self.token("score:*"), self.certificates.ca)

    def token(self, scope: str) -> str:
        keys = self.directory / "certs" / "dev"
        return output(
            [str(self.binary), "token", "--subject", "chaos", "--scope", scope, "--ttl", "24h"],
            {"RSCORE_AUTH__SIGNING_KEY": str(keys / "signing-key.pem")},
            self.directory,
        )

    def post(self, path: str) -> tuple[int, str]:
        """A request of an operator at the callers' door."""
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=RELOAD, context=context)
        with closing(connection):
            connection.request("POST", path, headers={"Authorization": f"Bearer {self.token('models:write')}"})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def operator(self, path: str) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def by_reason(self, metric: str) -> dict[str, int]:
        """Sums of a counter by its label `reason`."""
        sums: dict[str, int] = {}
        found = re.findall(rf"^{metric}\{{([^}}]*)\}} (\S+)$", self.operator("/metrics")[1], re.MULTILINE)
        for labels, value in found:
            reason = re.search(r'reason="([^"]*)"', labels)
            key = reason.group(1) if reason else ""
            sums[key] = sums.get(key, 0) + int(float(value))
        return sums

    def stop(self) -> tuple[int | None, int]:
        """Asks it to stop: the status that it ended with, and how many of its processes it left behind."""
        process = self.process.process
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            pass
        left = sum(stat.alive for stat in self.process.tree())
        return process.returncode, left
