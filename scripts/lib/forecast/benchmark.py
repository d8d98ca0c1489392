"""Times the orange juice forecast with rscore and without, on the same models and on the same
data in Azurite: see `scripts/bench-forecast --help`. Prints the tables of docs/forecast.md."""

import argparse
import csv
import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from processes import Failure  # noqa: E402
from runs import Scenario, end_on_sigterm, outputs, report, verify  # noqa: E402
from stores import Azurite  # noqa: E402

# Of a product.
PREDICTIONS = 11440 * 5
# Products of the whole forecast.
WHOLE = 90
QUANTILES = ("q5", "q25", "q50", "q75", "q95")
# A bundle of the example's functions on our models, which have other names there.
EXAMPLE = """\
suppressPackageStartupMessages(library(dplyr))
for (file in c("options.R", "create_features.R", "generate_forecast.R")) source(file.path("CHECKOUT", "R", file), local = TRUE)
load <- function(dir) {
  files <- list.files(dir, "[.]rds$")
  models <- lapply(file.path(dir, files), function(file) list(model = readRDS(file)))
  names(models) <- paste0("gbm_", sub("[.]rds$", "", files))
  models
}
score <- function(model, data) as.data.frame(generate_forecast(data$futurex, data$history, model))
"""


@dataclass
class Way:
    """One way to forecast, as it was timed."""

    title: str
    # By number of products.
    seconds: dict[int, float]
    cpu_seconds: float
    # Seconds by stage, over all processes, with most products.
    stages: dict[str, float]

    @property
    def per_product(self) -> float:
        """What one more product costs."""
        few, many = sorted(self.seconds)
        return (self.seconds[many] - self.seconds[few]) / (many - few)

    @property
    def beginning(self) -> float:
        """What all products together cost more than that."""
        many = max(self.seconds)
        return self.seconds[many] - many * self.per_product


class Benchmark:
    def __init__(self, scenario: Scenario, azurite: Azurite, cores: int):
        self.scenario, self.azurite, self.cores = scenario, azurite, cores
        # Two numbers of products tell what each costs from what all cost.
        self.few = max(cores, scenario.products // 3)
        self.here = Path(__file__).resolve().parent

    def limit(self, repetitions: int) -> float:
        """R's own seconds for a product, with as many processes at work as there are cores."""
        command = ["Rscript", "--vanilla", str(self.here / "limit.R"), str(self.scenario.bundle)]
        command += [str(self.scenario.data), str(repetitions)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(self.cores)]
        printed = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise Failure("limit.R failed")
        # The first call of a process compiles.
        return statistics.median(float(line) for text in printed for line in text.split()[1:])

    def plain(self, folder: str, title: str, checkout: Path | None = None) -> Way:
        """One Rscript per core, each with an equal share of the products."""
        store = self.azurite.url("PATH")
        times = [self.scenario.work / f"{folder}{core}.times" for core in range(self.cores)]

        def start(core: int, products: int) -> subprocess.Popen[bytes]:
            share = ",".join(map(str, range(1 + core, products + 1, self.cores)))
            command = ["Rscript", "--vanilla", str(self.here / "plain.R"), str(self.scenario.bundle), store, folder]
            command += [share, str(times[core]), *([str(checkout)] if checkout else [])]
            return subprocess.Popen(command)

        def run(products: int) -> None:
            processes = [start(core, products) for core in range(self.cores)]
            if any([process.wait() for process in processes]):
                raise Failure(f"{title} failed")

        seconds, cpu = self.timed(run)
        stages: dict[str, float] = {}
        for line in (line for file in times for line in file.read_text().splitlines()):
            stage, value = line.split()
            stages[stage] = stages.get(stage, 0.0) + float(value)
        return Way(title, seconds, cpu, stages)

    def rscore(self, folder: str, title: str) -> Way:
        log = self.scenario.work / f"{folder}.log"
        self.scenario.upload(self.azurite, "few/", self.few)

        def run(products: int) -> None:
            few = products == self.few
            job = self.scenario.write_job(self.azurite, f"{folder}-few" if few else folder, "few/" if few else "")
            environment = {**os.environ, **self.azurite.environment}
            with log.open("wb") as output:
                command = self.scenario.command(job, "benchmark", "--workers", str(self.cores))
                status = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT).returncode
            if status != 0:
                raise Failure(f"rscore ended with {status}; see {log}")

        seconds, cpu = self.timed(run)
        verify(self.azurite, folder, "benchmark", self.scenario.products)
        return Way(title, seconds, cpu, dict(report(self.azurite, folder, "benchmark")["times"]))

    def timed(self, run: object) -> tuple[dict[int, float], float]:
        """Seconds for few products and for all, and those of processors for all."""
        seconds, cpu = {}, 0.0
        for products in (self.few, self.scenario.products):
            started, before = time.monotonic(), children_cpu()
            run(products)
            seconds[products], cpu = time.monotonic() - started, children_cpu() - before
        return seconds, cpu

    def differences(self, folder: str) -> dict[str, int]:
        """How many numbers of each column differ from rscore's in the 15 digits that write.csv() writes."""
        found: dict[str, int] = {}
        theirs, ours = outputs(self.azurite, folder), outputs(self.azurite, "rscore")
        if theirs.keys() != ours.keys():
            raise Failure(f"{folder} and rscore wrote other files")
        for name, contents in ours.items():
            pairs = zip(rows_of(theirs[name]), rows_of(contents), strict=True)
            for their_row, our_row in pairs:
                # The example keeps the order in which its models gave the quantiles.
                sort_quantiles(their_row)
                if their_row.keys() != our_row.keys():
                    raise Failure(f"{folder} and rscore wrote other columns")
                for column, value in our_row.items():
                    if f"{value:.15g}" != f"{their_row[column]:.15g}":
                        found[column] = found.get(column, 0) + 1
        return found


def bundle_of_example(bundle: Path, checkout: Path, into: Path) -> Path:
    """A bundle that scores our models with the example's functions."""
    into.mkdir()
    for model in bundle.glob("*.rds"):
        shutil.copy(model, into)
    (into / "score.R").write_text(EXAMPLE.replace("CHECKOUT", str(checkout)))
    manifest = (bundle / "rscore.toml").read_text()
    (into / "rscore.toml").write_text(manifest.replace('["gbm"]', '["gbm", "dplyr"]'))
    return into


def rows_of(contents: bytes) -> list[dict[str, float]]:
    return [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(contents.decode()))]


def sort_quantiles(row: dict[str, float]) -> None:
    row.update(zip(QUANTILES, sorted(row[name] for name in QUANTILES), strict=True))


def children_cpu() -> float:
    """Seconds of processors that ended processes of this one used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def print_tables(ways: list[Way], limit: float, products: int, cores: int) -> None:
    """Ways that call the same functions, beside what these alone take."""
    bound = limit / cores
    print(f"R alone: {limit:.2f} s for a product with {cores} processes at work: {bound:.2f} s with {cores} cores.\n")
    print(
        f"| | seconds for {products} products | to begin and end | per product | over R alone | predictions/s | "
        f"core seconds | {WHOLE} products (computed) |\n|---|---|---|---|---|---|---|---|"
    )
    for way in ways:
        whole = way.beginning + WHOLE * way.per_product
        print(
            f"| {way.title} | {way.seconds[products]:.1f} | {way.beginning:.1f} | {way.per_product:.2f} | "
            f"{100 * (way.per_product / bound - 1):+.0f} % | {PREDICTIONS / way.per_product:,.0f} | "
            f"{way.cpu_seconds:.1f} | {whole:.0f} s |"
        )
    print("\nSeconds by stage, over all processes:\n")
    for way in ways:
        print(f"- {way.title}: " + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in way.stages.items()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench-forecast", description=__doc__)
    parser.add_argument("--products", type=int, default=12, help="90 are the whole forecast")
    sizes = ["small", "repeated", "full"]
    parser.add_argument("--size", choices=sizes, default="repeated", help="of the models: scripts/lib/forecast/train.R")
    checkout = "a checkout of Azure/RBatchScoring, to time its functions too; needs dplyr"
    parser.add_argument("--checkout", type=Path, help=checkout)
    options = parser.parse_args()
    root, target = Path(__file__).resolve().parents[3], Path(os.environ["TARGET_DIR"]).resolve()
    repository = root / "models" if options.size == "small" else target / "oj-forecast" / options.size
    bundle = repository / "oj-forecast" / "1"
    train = ["Rscript", "--vanilla", str(root / "scripts" / "train-oj-forecast.R")]
    subprocess.run([*train, "--size", options.size, "--into", str(repository)], check=True, stdout=sys.stderr)
    work = Path(tempfile.mkdtemp(prefix="bench-forecast-"))
    scenario = Scenario(root, Path(os.environ["RSCORE"]).resolve(), bundle, work, options.products, 83)
    scenario.prepare()
    cores = os.cpu_count() or 1
    with Azurite(target, work) as azurite:
        scenario.upload(azurite)
        benchmark = Benchmark(scenario, azurite, cores)
        limit = benchmark.limit(4)
        ways = [benchmark.rscore("rscore", "rscore batch"), benchmark.plain("plain", "Rscript, the same functions")]
        print_tables(ways, limit, options.products, cores)
        folders = ["plain"]
        if options.checkout:
            checkout = options.checkout.resolve()
            theirs = replace(scenario, bundle=bundle_of_example(bundle, checkout, work / "example"))
            example = Benchmark(theirs, azurite, cores)
            print("\nThe example's functions:\n")
            limit = example.limit(2)
            ways = [
                example.rscore("example", "rscore batch, the example's functions"),
                benchmark.plain("theirs", "Rscript, the example's functions", checkout),
            ]
            print_tables(ways, limit, options.products, cores)
            folders += ["example", "theirs"]
        for folder in folders:
            differences = benchmark.differences(folder) or "none"
            print(f"\nNumbers of {folder} that differ from rscore's, by column: {differences}")
    subprocess.run(["rm", "-rf", str(work)], check=True)


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench-forecast: {failure}")
