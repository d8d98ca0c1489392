"""Batch runs of the orange juice forecast that scripts disturb: their data, their job,
what an undisturbed run gives, and what must hold at the end."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from processes import Failure
from stores import Azurite, Folder

Store = Azurite | Folder


@dataclass(frozen=True)
class Scenario:
    """Products in a folder, and how they are scored."""

    root: Path
    rscore: Path
    bundle: Path
    # What is made here is gone with it.
    work: Path
    products: int
    # Stores per product; 83 are all there are.
    stores: int

    @property
    def data(self) -> Path:
        return self.work / "data"

    def prepare(self) -> None:
        """Has R write the products."""
        script = self.root / "scripts" / "prepare-forecast.R"
        command = ["Rscript", "--vanilla", str(script), str(self.data)]
        command += ["--products", str(self.products), "--stores", str(self.stores)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def upload(self, store: Store, below: str = "", products: int | None = None) -> None:
        """Copies products, all or the first so many, to a folder of the store."""
        for folder in ("history", "futurex"):
            for product in range(1, (products or self.products) + 1):
                file = f"{folder}/product{product}.csv"
                store.write(f"{below}{file}", (self.data / file).read_bytes())

    def write_job(self, store: Store, name: str, below: str = "", shard_timeout: str = "5s") -> Path:
        """A job for what was copied below a folder of the store. Outputs go to its folder `name`."""
        job = self.work / f"{name}.toml"
        job.write_text(
            f'model = "{self.bundle}"\n'
            f'output = "{store.location(name)}/product{{p}}.csv"\n'
            "[inputs]\n"
            f'history = "{store.location(below + "history")}/product{{p:int}}.csv"\n'
            f'futurex = "{store.location(below + "futurex")}/product{{p:int}}.csv"\n'
            f'[limits]\nshard_timeout = "{shard_timeout}"\n'
        )
        return job

    def command(self, job: Path, run: str, *options: str) -> list[str]:
        return [str(self.rscore), "batch", "run", str(job), "--run-id", run, "--progress", "plain", *options]

    def undisturbed(self, store: Store) -> dict[str, bytes]:
        """The outputs of a run that nobody disturbs, by name."""
        job = self.write_job(store, "undisturbed")
        log = self.work / "undisturbed.log"
        environment = {**os.environ, **store.environment}
        with log.open("wb") as output:
            command = self.command(job, "undisturbed", "--workers", "2")
            status = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT).returncode
        if status != 0:
            raise Failure(f"the undisturbed run ended with {status}; see {log}")
        verify(store, "undisturbed", "undisturbed", self.products)
        return outputs(store, "undisturbed")


def outputs(store: Store, folder: str) -> dict[str, bytes]:
    """The published files of a folder, by name."""
    paths = [path for path in store.list(f"{folder}/") if not path.startswith(f"{folder}/_")]
    return {path.removeprefix(f"{folder}/"): store.read(path) for path in paths}


def committed(store: Store, folder: str, run: str) -> list[str]:
    """Names of the partitions that have an outcome."""
    prefix = f"{folder}/_rscore/runs/{run}/commits/0/"
    return [path.removeprefix(prefix) for path in store.list(prefix)]


def report(store: Store, folder: str, run: str) -> dict[str, object]:
    return json.loads(store.read(f"{folder}/_rscore/runs/{run}/report.json"))


def verify(store: Store, folder: str, run: str, products: int, expected: dict[str, bytes] | None = None) -> str:
    """Raises unless the run is complete: every product once, each row once, the law of conservation, and the
    expected bytes. Says what it saw."""
    found = outputs(store, folder)
    wanted = {f"product{product}.csv" for product in range(1, products + 1)}
    check(set(found) == wanted, f"outputs differ: {sorted(set(found) ^ wanted)[:5]}")
    commits = committed(store, folder, run)
    check(len(commits) == len(set(commits)) == products, f"{len(commits)} commits of {products} products")
    rows = 0
    for name, contents in found.items():
        lines = contents.decode().splitlines()[1:]
        keys = {tuple(line.split(",")[:3]) for line in lines}
        check(len(keys) == len(lines), f"{name} has {len(lines) - len(keys)} rows twice")
        check(expected is None or contents == expected[name], f"{name} differs from the undisturbed run's")
        rows += len(lines)
    said = report(store, folder, run)
    counts = said["rows"]
    check(said["conserved"] is True, f"the report says that rows were lost: {counts}")
    parts = counts["written"] + counts["quarantined"] + counts["failed"]
    check(counts["read"] == parts and counts["written"] == rows, f"{rows} rows in the outputs, but {counts}")
    check(f"{folder}/_rscore/runs/{run}/_SUCCESS" in store.list(f"{folder}/_rscore/runs/{run}/_"), "no _SUCCESS")
    return f"{products} outputs with {rows} rows, each once; read {counts['read']} = written {counts['written']}"


def end_on_sigterm() -> None:
    """SIGTERM ends the script as an exception would, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failure(otherwise)
