"""Other servers of R functions. None of them has TLS or authentication on."""

import re
from pathlib import Path

from server import WORKERS, Server, output
from workloads import FOREST

HERE = Path(__file__).resolve().parent


class Plumber(Server):
    """One R process, as plumber is meant to be run."""

    key = "plumber"
    title = "plumber, 1 process"

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        run = (
            f'plumber::pr_run(plumber::pr("{HERE / "plumber.R"}"), '
            f'host = "127.0.0.1", port = {self.port}, docs = FALSE, quiet = TRUE)'
        )
        return ["Rscript", "--vanilla", "-e", run], {"BENCH_MODEL": str(self.paths.forest)}

    def version(self) -> str:
        return package_version("plumber")


class Faucet(Server):
    """A load balancer in Rust over plumber processes that it starts and restarts."""

    key = "faucet"
    title = f"faucet, {WORKERS} plumber"
    supervised = True

    def prepare(self) -> None:
        (self.directory / "plumber.R").write_bytes((HERE / "plumber.R").read_bytes())

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        command = [
            str(self.paths.target / "tools" / "bin" / "faucet"), "--host", f"127.0.0.1:{self.port}",
            "start", "--workers", str(WORKERS), "--type", "plumber", "--dir", str(self.directory),
        ]  # fmt: skip
        return command, {"BENCH_MODEL": str(self.paths.forest)}

    def version(self) -> str:
        installed = (self.paths.target / "tools" / ".crates.toml").read_text()
        found = re.search(r'"faucet-server ([^ ]+) ', installed)
        return found[1] if found else "unknown"


class Rserve(Server):
    """Rserve's own HTTP server: a process forked for each connection, without a bound."""

    key = "rserve"
    title = "Rserve HTTP, fork per connection"

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        environment = {
            "BENCH_MODEL": str(self.paths.forest),
            "BENCH_PORT": str(self.port),
            "BENCH_SAMPLE": str(self.paths.work / f"{FOREST}-1.json"),
        }
        return ["Rscript", "--vanilla", str(HERE / "rserve.R")], environment

    def version(self) -> str:
        return package_version("Rserve")


def package_version(name: str) -> str:
    """Version of an R package."""
    return output(["Rscript", "--vanilla", "-e", f'cat(as.character(packageVersion("{name}")))'])
