"""rscore itself: the release build with TLS and tokens, as `serve --dev` sets them up."""

import re
import shutil
import time

from client import Endpoint
from processes import Failure, ServerProcess
from server import RSCORE, WORKERS, Paths, Server, free_port, output
from workloads import FOREST, TRIVIAL


class Rscore(Server):
    """Two workers, HTTPS and a checked token on every request."""

    key = "rscore"
    title = "rscore (TLS, JWT)"
    kind = RSCORE
    supervised = True
    tolerance = 0.0

    def __init__(self, paths: Paths):
        super().__init__(paths)
        self.binary = paths.target / "release" / "rscore"
        self.admin_port = 0
        self.token = ""
        self.protocol = ""

    def prepare(self) -> None:
        """A repository per model: the forest as it stands in models/, and the trivial function as a script."""
        for model in (FOREST, TRIVIAL):
            shutil.rmtree(self.directory / model, ignore_errors=True)
        shutil.copytree(self.paths.forest.parent, self.directory / FOREST / FOREST / "1")
        trivial = self.directory / TRIVIAL / TRIVIAL / "1"
        trivial.mkdir(parents=True)
        shutil.copy(self.paths.work / "trivial.rds", trivial / "model.rds")
        (trivial / "score.R").write_text("score <- function(model, data) rep(1, nrow(data))\n")
        (trivial / "rscore.toml").write_text(
            'script = "score.R"\nrow_independent = true\n\n[columns]\nx = { type = "double" }\n'
        )
        (trivial / "sample.json").write_text('[{"x": 1}, {"x": 2}, {"x": 3}]\n')

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        self.admin_port = free_port()
        command = [
            str(self.binary), "serve", "--dev", "--models", str(self.directory / model), "--workers", str(WORKERS),
            "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}",
        ]  # fmt: skip
        return command, {}

    def endpoint(self, model: str, rows: int) -> Endpoint:
        keys = self.directory / "certs" / "dev"
        return Endpoint(
            self.port,
            f"/models/{model}/predict",
            self.body(model, rows),
            {"Authorization": f"Bearer {self.token}"},
            ca=keys / "ca.pem",
            key="predictions",
        )

    def wait_for_keys(self, running: ServerProcess) -> None:
        """Until the operator's listener answers: keys and certificate are made before it opens."""
        limit = time.monotonic() + 30
        while True:
            try:
                self.metric("rscore_build_info")
                return
            except OSError:
                running.check_alive()
                if time.monotonic() > limit:
                    raise Failure(f"{self.title} opened no listener within 30 s; see {running.log}") from None
                time.sleep(0.01)

    def mint(self, running: ServerProcess) -> None:
        """Once keys and certificate are made: a token, and the protocol that is spoken."""
        self.wait_for_keys(running)
        signing_key = self.directory / "certs" / "dev" / "signing-key.pem"
        self.token = output(
            [str(self.binary), "token", "--subject", "bench", "--scope", "score:*", "--ttl", "24h"],
            {"RSCORE_AUTH__SIGNING_KEY": str(signing_key)},
            self.directory,
        )
        connection = self.endpoint(FOREST, 1).connect(10)
        try:
            connection.connect()
            self.protocol = f"{connection.sock.version()}, {connection.sock.cipher()[0]}"
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels, from the operator's listener."""
        connection = Endpoint(self.admin_port, "/metrics", b"").connect(10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        values = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in values)

    def version(self) -> str:
        return f"{output([str(self.binary), '--version']).split()[1]} over {self.protocol}"
