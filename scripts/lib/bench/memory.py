"""How many copies of a large model eight workers hold: `scripts/bench --memory`.

The model is 500 MB of numbers of which a call reads a few. Memory is PSS, so that a page
that several processes share counts once in sum.
"""

import shutil
from typing import Any

from client import first_answer
from load import Load
from processes import Failure
from rscore import Rscore
from server import Paths, output
from table import figure

MODEL = "large"
WORKERS = 8
DOUBLES = 62_500_000
COPY = 8 * DOUBLES
REQUESTS = 10_000
MOST_COPIES = 1.3

SCRIPT = """\
score <- function(model, data) {
  at <- (abs(data$x) * 7919 + seq_len(nrow(data)) * 104729) %% length(model$weights) + 1
  model$weights[at]
}
"""
MANIFEST = 'script = "score.R"\nrow_independent = false\n\n[columns]\nx = { type = "double" }\n'


class Large(Rscore):
    """rscore with eight workers of the large model."""

    def prepare(self) -> None:
        shutil.rmtree(self.directory / MODEL, ignore_errors=True)
        bundle = self.directory / MODEL / MODEL / "1"
        bundle.mkdir(parents=True)
        (bundle / "score.R").write_text(SCRIPT)
        (bundle / "rscore.toml").write_text(MANIFEST)
        write = f"saveRDS(list(weights = seq_len({DOUBLES}) + 0.5), 'model.rds', compress = FALSE)"
        output(["Rscript", "--vanilla", "-e", write], directory=bundle)

    def command(self, model: str) -> tuple[list[str], dict[str, str]]:
        command, environment = super().command(model)
        command[command.index("--workers") + 1] = str(WORKERS)
        return command, {**environment, "RSCORE_LOG__FILTER": "warn"}

    def body(self, model: str, rows: int) -> bytes:
        return b'[{"x": 1.5}]'


def run(paths: Paths, note: Any) -> int:
    """Measures, prints, and says with the exit code whether the bound was kept."""
    server = Large(paths)
    note("memory: writing a model of 500 MB")
    server.prepare()
    try:
        with server.start(MODEL) as running:
            server.mint(running)
            endpoint = server.endpoint(MODEL, 1)
            first_answer(running, endpoint)
            fresh, answered = running.pss_bytes(), 0
            while answered < REQUESTS:
                with Load(endpoint, 2 * WORKERS, 2, paths.work) as load:
                    report = load.report()
                if report.good == 0:
                    raise Failure(f"{server.title} answered nothing")
                answered += report.good
            used = running.pss_bytes()
            processes = len(running.tree())
    finally:
        # Half a gigabyte is not left behind.
        shutil.rmtree(server.directory / MODEL, ignore_errors=True)
    kept = used <= MOST_COPIES * COPY
    print(f"model                          {COPY / 1e6:.0f} MB, {WORKERS} workers, {processes} processes in all")
    print(f"memory before the first load   {fresh / 1e6:.0f} MB, {figure(fresh / COPY)} copies")
    print(f"memory after {answered:,} answers  {used / 1e6:.0f} MB, {figure(used / COPY)} copies (at most {MOST_COPIES})  {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1
