"""Compares rscore with other servers of R models in one run. See `scripts/bench --help`."""

import argparse
import datetime
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import chart
import document
import machine
import memory
import overload
from peers import Faucet, Plumber, Rserve
from processes import Failure
from python_peers import MLServer, MLServerBatching
from rounds import Run
from rscore import Rscore
from server import Paths, Server
from summary import NOISE, noise, summarise
from table import counted, tables
from workloads import WORKLOADS, by_name

EXAMPLES = """\
workloads:
{workloads}

examples:
  scripts/bench                                    all workloads, rscore, plumber and faucet
  scripts/bench --only forest-1x64 --rounds 1      a quick look at one workload
  scripts/bench --no-peers --seconds 10            rscore alone, against R's own limit
  scripts/bench --rserve --mlserver --write-docs   everything, and docs/benchmarks.md anew
  scripts/bench --overload                         how it behaves when too much is asked
  scripts/bench --memory                           what eight workers of a large model share
  scripts/bench --from target/bench/results.json   the tables of an earlier run

Servers listen on free ports of 127.0.0.1, and are stopped by process id. Keep the machine quiet meanwhile: what
other processes took is reported.
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    names = "\n".join(f"  {workload.name:<16} {workload.title}" for workload in WORKLOADS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        allow_abbrev=False,
        description=__doc__.split(". See")[0] + ".",
        epilog=EXAMPLES.format(workloads=names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=bounded(int, 1, 100), default=3, help="rounds through all servers (default 3)")
    parser.add_argument(
        "--seconds", type=bounded(int, 1, 600), default=4, help="length of each measurement in seconds (default 4)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[workload.name for workload in WORKLOADS],
        metavar="WORKLOAD",
        help="only this workload; may be given several times",
    )
    parser.add_argument("--no-peers", action="store_true", help="rscore alone")
    parser.add_argument("--no-rscore", action="store_true", help="the peers alone")
    parser.add_argument("--rserve", action="store_true", help="also Rserve's HTTP server")
    parser.add_argument("--mlserver", action="store_true", help="also MLServer with a scikit-learn forest (Python)")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and its chart")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--overload", action="store_true", help="only: rscore under three times its capacity for a minute")
    alone.add_argument("--memory", action="store_true", help="only: rscore with a model of 500 MB and eight workers")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing, report this JSON file")
    options = parser.parse_args(arguments)
    if options.no_peers and (options.no_rscore or options.rserve or options.mlserver):
        parser.error("--no-peers leaves rscore alone; it does not go with --no-rscore, --rserve or --mlserver")
    return options


def bounded(kind: type, low: int, high: int):
    def convert(text: str) -> int:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    convert.__name__ = "number"
    return convert


def main() -> int:
    options = parse(sys.argv[1:])
    if os.environ.get("BENCH_CHECK_ARGUMENTS"):
        return 0
    # As an interrupt, so that servers are stopped on the way out.
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    root = Path(__file__).resolve().parents[3]
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target")).resolve()
    try:
        if options.overload or options.memory:
            paths = Paths(root, target, target / "bench")
            paths.work.mkdir(parents=True, exist_ok=True)
            return (overload if options.overload else memory).run(paths, note)
        if options.source:
            results = summarise(json.loads(options.source.read_text()))
        else:
            results = measure(options, Paths(root, target, target / "bench"))
        report(results)
        if options.write_docs:
            write_documents(results, root / "docs")
    except (Failure, OSError, ValueError, KeyError) as failure:
        detail = f"{type(failure).__name__}: {failure}" if isinstance(failure, KeyError) else failure
        note(f"bench: {detail}")
        return 1
    except KeyboardInterrupt:
        note("bench: interrupted; all servers were stopped")
        return 130
    return 0


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def measure(options: argparse.Namespace, paths: Paths) -> dict[str, Any]:
    """Runs all rounds and keeps the results as JSON, also those of the rounds before an error."""
    paths.work.mkdir(parents=True, exist_ok=True)
    workloads = [by_name(name) for name in dict.fromkeys(options.only or [workload.name for workload in WORKLOADS])]
    run = Run(paths, servers(options, paths), workloads, options.seconds, note)
    run.prepare()
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "revision": machine.revision(paths.root),
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
        "machine": machine.describe(),
        "rounds": 0,
        "seconds": options.seconds,
        "servers": {
            server.key: {
                "title": server.title,
                "kind": server.kind,
                "version": server.version(),
                "same_model": server.tolerance is not None,
            }
            for server in run.servers
        },
        "differences": run.differences,
        "failures": run.failures,
        "limits": run.limits,
        "cells": run.cells,
        "starts": run.starts,
    }
    note(f"{counted(options.rounds, 'round')} will take about {run.estimate(options.rounds) / 60:.0f} minutes")
    file = paths.work / "results.json"
    started = time.monotonic()
    for number in range(1, options.rounds + 1):
        run.round(number)
        results["rounds"] = number
        file.write_text(json.dumps(summarise(results), indent=1) + "\n")
    note(f"done in {(time.monotonic() - started) / 60:.1f} minutes; all figures are in {os.path.relpath(file)}\n")
    return results


def servers(options: argparse.Namespace, paths: Paths) -> list[Server]:
    chosen: list[type[Server]] = [] if options.no_rscore else [Rscore]
    if not options.no_peers:
        chosen += [Plumber, Faucet]
    if options.rserve:
        chosen.append(Rserve)
    if options.mlserver:
        chosen += [MLServer, MLServerBatching]
    return [server(paths) for server in chosen]


def report(results: dict[str, Any]) -> None:
    """The tables, on standard output."""
    for table in tables(results):
        print(table.plain() + "\n")
    for key, reason in results["failures"].items():
        print(f"Left out: {key}: {reason}\n")
    if results["summary"] and noise(results) > NOISE:
        print(
            f"Other processes took up to {100 * noise(results):.0f} % of the cores during a measurement; "
            "the figures are doubtful, run it again on a quiet machine."
        )


def write_documents(results: dict[str, Any], directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "benchmarks.svg").write_text(chart.draw(results))
    (directory / "benchmarks.md").write_text(document.write(results, "benchmarks.svg"))
    note(f"wrote {os.path.relpath(directory)}/benchmarks.md and benchmarks.svg")


def note(text: str) -> None:
    """A line for the person who waits; results go to standard output."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
