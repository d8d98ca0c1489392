"""Serves models under load while it kills, replaces, poisons and hangs, and counts what callers notice.
See `scripts/chaos --help`."""

import argparse
import datetime
import json
import os
import random
import shlex
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

# What it shares with the benchmark: processes, tables, the machine.
sys.path.append(str(Path(__file__).resolve().parent.parent / "bench"))

import machine
import report
from callers import Load, Mix
from certificates import Certificates
from changes import Changes
from family import Family
from faults import Faults, Pauses
from processes import Failure
from repository import Repository
from server import output
from subject import Subject
from watch import Watch

# Where results go in the page.
BEGIN, END = "<!-- results -->", "<!-- end of results -->"

EXAMPLES = """\
examples:
  scripts/chaos                                10 minutes at 64 connections
  scripts/chaos --seconds 30 --profile debug   a short run of the debug build
  scripts/chaos --kill-zygote 0 --change 0     only workers are killed
  scripts/chaos --write-docs                   and docs/chaos.md anew

Ends with 1 when a request was lost that had not earned it, an answer was wrong, or something grew or was left.
Processes are found as descendants of the server, and killed by process id.
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        allow_abbrev=False,
        description=" ".join(__doc__.split(" See")[0].split()),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    seconds = {"type": float, "metavar": "SECONDS"}
    parser.add_argument("--seconds", default=600.0, help="length of the run (default 600)", **seconds)
    parser.add_argument("--connections", type=int, default=64, help="connections of callers (default 64)")
    parser.add_argument("--workers", type=int, default=2, help="workers per model (default 2)")
    parser.add_argument("--seed", type=int, help="of all that is left to chance (default: a new one, which is printed)")
    parser.add_argument("--kill-worker", default=0.2, help="pause between two kills of a worker; 0 for none (default 0.2)", **seconds)
    parser.add_argument("--kill-zygote", default=30.0, help="the same for a zygote (default 30)", **seconds)
    parser.add_argument("--change", default=5.0, help="the same for what an operator changes: the next version of a model, a reload by the API, SIGHUP, another certificate (default 5)", **seconds)
    parser.add_argument("--poison", type=int, default=1000, help="one request in so many does harm (default 1000)")
    parser.add_argument("--hang", type=int, default=1500, help="one request in so many does not end (default 1500)")
    parser.add_argument("--leave", type=int, default=100, help="one caller in so many goes away (default 100)")
    parser.add_argument("--profile", default="release", help="the build to run: release or debug (default release)")
    parser.add_argument("--binary", type=Path, help="the binary to run instead of a build")
    parser.add_argument("--write-docs", action="store_true", help="put the results into docs/chaos.md")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    if os.environ.get("CHAOS_CHECK_ARGUMENTS"):
        return 0
    signal.signal(signal.SIGTERM, interrupt)
    root = Path(__file__).resolve().parents[3]
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target")).resolve()
    try:
        results = run(options, root, target)
        (target / "chaos" / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        for table in report.tables(results):
            print(table.plain() + "\n")
        if options.write_docs:
            write(root / "docs" / "chaos.md", report.document(results))
    except (Failure, OSError, ValueError) as failure:
        note(f"chaos: {failure}")
        return 1
    except KeyboardInterrupt:
        note("chaos: interrupted; the server was stopped")
        return 130
    found = report.failures(results)
    for failure in found:
        print(f"FOUND {failure}")
    if not found:
        print("nothing was lost and nothing was wrong")
    return 1 if found else 0


def run(options: argparse.Namespace, root: Path, target: Path) -> dict[str, Any]:
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    note(f"seed {seed}")
    work = target / "chaos"
    work.mkdir(parents=True, exist_ok=True)
    repository = Repository(work / "models", root)
    repository.make()
    certificates = Certificates(work / "certificates")
    certificates.make()
    cases = work / "cases.json"
    output(["Rscript", "--vanilla", str(Path(__file__).with_name("cases.R")), str(repository.path), str(seed), str(cases)])
    about = {
        "date": datetime.date.today().isoformat(),
        "revision": machine.revision(root),
        "machine": machine.describe(),
        "command": shlex.join(["scripts/chaos", *sys.argv[1:]]),
        "seed": seed,
    }
    binary = (options.binary or target / options.profile / "rscore").resolve()
    subject = Subject(binary, work / "server", repository.path, options.workers, certificates)
    with subject.process:
        subject.wait_until_ready()
        changes = Changes(repository, subject, certificates, random.Random(seed))
        return about | measure(options, seed, changes, cases, subject)


def measure(
    options: argparse.Namespace, seed: int, changes: Changes, cases: Path, subject: Subject
) -> dict[str, Any]:
    mix = Mix(poison=options.poison, hang=options.hang, leave=options.leave)
    pauses = Pauses(options.kill_worker, options.kill_zygote, options.change)
    started = time.monotonic()
    load = Load(subject.target(), mix, cases, options.connections, seed)
    family = Family(subject.process)
    watch = Watch(family, max(0.25, options.seconds / 240))
    faults = Faults(family, pauses, seed, changes.next)
    note(f"running for {options.seconds:.0f} s against ports {subject.port} and {subject.admin_port}; log in {subject.log}")
    while time.monotonic() - started < options.seconds:
        subject.process.check_alive()
        time.sleep(0.2)
    faults.stop()
    tally = load.stop()
    seconds = time.monotonic() - started
    watch.stop()
    results = {
        "seconds": round(seconds, 1),
        "sent": tally.sent,
        "right": tally.right,
        "wrong": tally.wrong,
        "left": tally.left,
        "own": report.named(tally.own),
        "lost": report.named(tally.lost),
        "told": tally.told,
        "milliseconds": percentiles(tally.milliseconds),
        "faults": dict(faults.done),
        "fault_failures": faults.failures,
        "starts": subject.by_reason("rscore_worker_starts_total"),
        "deaths": subject.by_reason("rscore_worker_deaths_total"),
        "quarters": watch.quarters(),
        "growth": watch.growth(),
        "samples": [vars(sample) for sample in watch.samples],
        "zombies_at_end": watch.lasting_zombies(),
    }
    for text in tally.told:
        note(text)
    results["exit_status"], results["left_behind"] = subject.stop()
    return results


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    if len(milliseconds) < 2:
        return {}
    cuts = statistics.quantiles(milliseconds, n=1000)
    return {"p50": cuts[499], "p99": cuts[989], "p99.9": cuts[998], "longest": max(milliseconds)}


def write(page: Path, results: str) -> None:
    """Puts the results where the page has its marks."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{results}\n{END}{after}")
    note(f"wrote {page}")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def note(text: str) -> None:
    """A line for the person who waits; results go to standard output."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
