"""docs/benchmarks.md, written from the results of a run and from nothing else."""

from typing import Any

from server import RSCORE, R
from summary import NOISE, noise
from table import counted, figure, in_process_table, lifecycle_table, limit_table, rate, ratio, workload_table
from workloads import by_name

ABOUT = """\
# Benchmarks

This page is written by `scripts/bench --write-docs` from one run; don't edit it.

rscore is measured as it is meant to be used: release build, TLS, a JSON Web Token checked on every request, two worker
processes. The other servers have neither TLS nor authentication. All are given the same model file and the same
rows as JSON records, on loopback, by [wrk](https://github.com/wg/wrk), which shares the cores with them.
"""

NOTES = """\
## How to read it

- The forest is `randomForest` with 100 trees on the 13 columns of `MASS::Boston`. The trivial function returns ones: what
  it costs is the server's own cost.
- Rounds go through all servers in turn and in another order each time; each runs alone, after a warm-up. Figures are
  medians over the rounds. Latencies are of answered requests, as the client sees them.
- CPU per request is what all processes of the server used, system time included, over the requests answered. It does not
  depend on how the cores are shared with wrk.
- Memory is PSS under load: private pages, and of each shared page the share of one process. It counts all processes.
- Ratios are to the R server that answered most requests in the same run and workload. Figures of different runs or
  machines should not be compared; ratios may be.
- plumber writes the head and the body of an answer apart, so that with one connection the second waits for a delayed
  acknowledgement of the first: about 40 ms of its latency there are neither R nor HTTP. CPU per request is the
  fairer figure for that workload.
- The limit is what `predict()` does in one R process with batches of the size that occurred, times the cores that wrk
  left (at most one per worker and per connection). With such batches, no server that calls `predict()` can be faster.
- A killed worker counts as replaced when rscore's own metrics say that another one has started, and for other servers
  when a new process listens. Requests lost are those that failed while a worker was killed under load from 16
  connections.
- Answers are checked before each measurement: rscore's must be the same doubles as R's, the others' the same to 15
  digits, which is what jsonlite writes at most.
"""


def write(results: dict[str, Any], chart: str) -> str:
    """The page; `chart` is the name of the SVG beside it."""
    parts = [ABOUT, f"![Requests per second, by server and workload]({chart})\n", headline(results)]
    for name in results["summary"]:
        table = workload_table(results, name)
        parts.append(f"## {sentence(by_name(name).title)}\n\n{table.markdown()}\n")
    parts.append(f"## Start and recovery\n\n{lifecycle_table(results).markdown()}\n")
    limits = limit_table(results)
    parts.append(f"## What R itself can do\n\n{in_process_table(results).markdown()}\n")
    if limits.rows:
        parts.append(f"{limits.markdown()}\n")
    parts += [NOTES, conditions(results)]
    return "\n".join(parts)


def headline(results: dict[str, Any]) -> str:
    """One line per workload."""
    lines = []
    for name, table in results["summary"].items():
        ours = next((row for key, row in table.items() if results["servers"][key]["kind"] == RSCORE), None)
        if ours is None:
            continue
        line = f"- {sentence(by_name(name).title)}: {rate(ours['requests_per_second'])} requests/s"
        line += f", p50 {figure(ours['p50_ms'])} ms, p99 {figure(ours['p99_ms'])} ms"
        if ours["ratio"] is not None:
            line += f"; {ratio(ours['ratio'])} the best other R server"
        lines.append(line + ".")
    return "\n".join(lines) + "\n"


def conditions(results: dict[str, Any]) -> str:
    """Machine, versions, date, command, and doubts."""
    machine = results["machine"]
    lines = [
        "## Conditions\n",
        f"- {results['date']}, rscore at commit {results['revision']}",
        f"- {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; {machine['system']},"
        f" Linux {machine['kernel']}",
        f"- R {machine['r']}, randomForest {machine['randomForest']}",
        *(f"- {server['title']}: version {server['version']}" for server in results["servers"].values()),
        f"- {counted(results['rounds'], 'round')}, {results['seconds']:g} s for each measurement",
        f"- `{results['command']}`",
        f"- Largest relative difference from R's answers: {differences(results)}",
    ]
    for key, reason in results["failures"].items():
        lines.append(f"- Left out: {key} ({reason.splitlines()[0]})")
    if noise(results) > NOISE:
        lines.append(
            f"- **Other processes took up to {100 * noise(results):.0f} % of the cores during a measurement.** Its"
            " figures are doubtful: run it again on a quiet machine."
        )
    if not any(server["kind"] == R for server in results["servers"].values()):
        lines.append("- No other R server was measured in this run.")
    return "\n".join(lines) + "\n"


def differences(results: dict[str, Any]) -> str:
    listed = [
        f"{results['servers'][key]['title']} {'none' if value == 0 else f'{value:.1g}'}"
        for key, value in results["differences"].items()
        if results["servers"][key]["same_model"]
    ]
    return "; ".join(listed) or "not checked"


def sentence(title: str) -> str:
    return title[0].upper() + title[1:]
