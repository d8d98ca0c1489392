"""Kills random shards of a batch run again and again, then freezes one while another does
its work, and shows that no row is lost or doubled: see `scripts/batch-chaos --help`."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from processes import Failure, still_lives, tree  # noqa: E402
from runs import Scenario, Store, committed, end_on_sigterm, verify  # noqa: E402
from stores import Azurite, Folder  # noqa: E402

# Interrupted: what an engine starts again.
AGAIN = 75


def start(scenario: Scenario, store: Store, job: Path, run: str, shard: str) -> subprocess.Popen[bytes]:
    command = scenario.command(job, run, "--shard", shard, "--workers", "1")
    with (scenario.work / f"{run}-{shard.partition('/')[0]}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, **store.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class Shards:
    """The processes of one run, started again whenever they are killed, as an engine would."""

    def __init__(self, scenario: Scenario, store: Store, job: Path, count: int):
        self.scenario, self.store, self.job, self.count = scenario, store, job, count
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.ended: set[int] = set()
        self.kills = self.starts = 0
        # All that was ever started, to see that nothing is left of it.
        self.seen: set[object] = set()
        for shard in range(count):
            self.start(shard)

    def start(self, shard: int) -> None:
        self.running[shard] = start(self.scenario, self.store, self.job, "chaos", f"{shard}/{self.count}")
        self.starts += 1

    def reap(self) -> None:
        """Notes which shards have ended, and starts those again that were interrupted or killed."""
        for shard, process in list(self.running.items()):
            status = process.poll()
            if status is None:
                continue
            del self.running[shard]
            if status == 0:
                self.ended.add(shard)
            elif status in (AGAIN, -signal.SIGKILL):
                self.start(shard)
            else:
                raise Failure(f"shard {shard} ended with {status}; see {self.scenario.work}/chaos-{shard}.log")

    def kill_one(self) -> None:
        shard = random.choice(list(self.running))
        process = self.running[shard]
        self.seen.update(tree(process.pid))
        process.kill()
        process.wait()
        self.kills += 1

    def stop(self) -> None:
        for process in self.running.values():
            self.seen.update(tree(process.pid))
            process.kill()
            process.wait()

    def left_over(self, patience: float = 20.0) -> list[object]:
        """Processes of killed shards that are still there after a while."""
        limit = time.monotonic() + patience
        while (left := [stat for stat in self.seen if still_lives(stat)]) and time.monotonic() < limit:
            time.sleep(0.1)
        return left


def disturb(scenario: Scenario, store: Store, expected: dict[str, bytes], options: argparse.Namespace) -> str:
    job = scenario.write_job(store, "chaos")
    started = time.monotonic()
    shards = Shards(scenario, store, job, options.shards)
    try:
        next_kill = started + options.every
        while shards.running:
            shards.reap()
            now = time.monotonic()
            if now > started + options.limit:
                raise Failure(f"the run is not done after {options.limit:.0f} s; see {scenario.work}")
            if now >= next_kill and shards.running:
                shards.kill_one()
                next_kill = now + options.every
            time.sleep(0.05)
    finally:
        shards.stop()
    seconds = time.monotonic() - started
    found = verify(store, "chaos", "chaos", scenario.products, expected)
    if left := shards.left_over():
        raise Failure(f"killed shards left processes behind: {left}")
    if shards.kills < options.least_kills:
        raise Failure(f"only {shards.kills} shards were killed in {seconds:.0f} s: that shows nothing; use --every")
    return f"{shards.kills} kills, {shards.starts} starts of {options.shards} shards, {seconds:.0f} s: {found}"


def freeze(scenario: Scenario, store: Store, expected: dict[str, bytes], patience: float = 120.0) -> str:
    """Stops a shard that is at work until another one has done its part, and lets it go on then."""
    run, state = "frozen", "frozen/_rscore/runs/frozen"
    job = scenario.write_job(store, run, shard_timeout="2s")
    shards = [start(scenario, store, job, run, "0/2")]
    try:
        limit = time.monotonic() + patience
        while not committed(store, run, run):
            if shards[0].poll() is not None or time.monotonic() > limit:
                raise Failure(f"shard 0 commits nothing; see {scenario.work}/frozen-0.log")
            time.sleep(0.01)
        shards[0].send_signal(signal.SIGSTOP)
        shards.append(start(scenario, store, job, run, "1/2"))
        statuses = [shards[1].wait(patience)]
        done = store.versions(f"{run}/")
        shards[0].send_signal(signal.SIGCONT)
        statuses.append(shards[0].wait(patience))
    except subprocess.TimeoutExpired as error:
        raise Failure(f"a shard does not end; see {scenario.work}") from error
    finally:
        for shard in shards:
            shard.kill()
            shard.wait()
    if statuses != [0, 0]:
        raise Failure(f"the shards ended with {statuses}; see {scenario.work}")
    found = verify(store, run, run, scenario.products, expected)
    claims = [path for path in done if path.startswith(f"{state}/claims/")]
    taken = [path for path in claims if path.endswith("/000001.json")]
    if not taken:
        raise Failure("the frozen shard had nothing that was taken over: that shows nothing")
    now = store.versions(f"{run}/")
    commits = [path for path in now if path.startswith(f"{state}/commits/")]
    others = [outcome for outcome in (json.loads(store.read(path)) for path in commits) if outcome["shard"] == "1"]
    # What a shard committed itself it may publish again.
    watched = [*commits, *(f"{run}/{outcome['result']['output']['path']}" for outcome in others)]
    if changed := [path for path in watched if now[path] != done.get(path)]:
        raise Failure(f"the frozen shard wrote {changed[:3]} after it woke up")
    return f"{len(taken)} partitions of a frozen shard done by another, nothing written when it woke up: {found}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/batch-chaos", description=__doc__)
    parser.add_argument("--store", choices=["local", "azurite", "both"], default="both", help="where data is")
    parser.add_argument("--products", type=int, default=90, help="partitions of the run")
    parser.add_argument("--stores", type=int, default=4, help="stores per product: more make a partition longer")
    parser.add_argument("--shards", type=int, default=3, help="processes of the run")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="time between two kills")
    parser.add_argument("--least-kills", type=int, default=5, help="fewer are a failure")
    parser.add_argument("--limit", type=float, default=600.0, metavar="SECONDS", help="longest time for a run")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of shards")
    options = parser.parse_args()
    root, target = Path(__file__).resolve().parents[3], Path(os.environ["TARGET_DIR"]).resolve()
    random.seed(options.seed)
    work = Path(tempfile.mkdtemp(prefix="batch-chaos-"))
    rscore, bundle = Path(os.environ["RSCORE"]).resolve(), root / "models" / "oj-forecast" / "1"
    scenario = Scenario(root, rscore, bundle, work, options.products, options.stores)
    scenario.prepare()
    if options.store in ("local", "both"):
        folder = Folder(work / "local")
        show("local files", scenario, folder, options)
    if options.store in ("azurite", "both"):
        with Azurite(target, work) as azurite:
            show("Azurite", scenario, azurite, options)
    subprocess.run(["rm", "-rf", str(work)], check=True)


def show(name: str, scenario: Scenario, store: Store, options: argparse.Namespace) -> None:
    scenario.upload(store)
    expected = scenario.undisturbed(store)
    print(f"{name}: {disturb(scenario, store, expected, options)}", flush=True)
    print(f"{name}: {freeze(scenario, store, expected)}", flush=True)


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except Failure as failure:
        sys.exit(f"batch-chaos: {failure}")
