"""Runs a batch job as a Slurm array on two nodes of this machine, stops a task and kills a
node in the middle, and shows that no row is lost or doubled: see `scripts/slurm-try --help`."""

import argparse
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from processes import Failure, ServerProcess, read_stat, tree  # noqa: E402
from runs import Scenario, committed, end_on_sigterm, verify  # noqa: E402
from server import free_port  # noqa: E402
from stores import Azurite  # noqa: E402

NODES = ("n1", "n2")


class Cluster:
    """munged, slurmctld and a slurmd per node, all in one folder. Use it as a context manager."""

    def __init__(self, directory: Path, seconds_until_down: int = 10):
        self.directory = directory
        self.configuration = directory / "slurm.conf"
        self.daemons: dict[str, ServerProcess] = {}
        for folder in ("munge", "state", "spool"):
            (directory / folder).mkdir(parents=True, mode=0o700)
        key = directory / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        self.configuration.write_text(self._configuration(seconds_until_down))

    def _configuration(self, seconds_until_down: int) -> str:
        host = os.uname().nodename.split(".")[0]
        node = "NodeName={} NodeHostname={} NodeAddr=127.0.0.1 Port={} CPUs=1\n"
        nodes = "".join(node.format(name, host, free_port()) for name in NODES)
        return (
            f"ClusterName=try\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={free_port()}\n"
            f"AuthType=auth/munge\nAuthInfo=socket={self.directory}/munge/socket\nCredType=cred/munge\n"
            # Nodes of one machine have fewer cores than it has, and no control groups of their own.
            "SlurmdParameters=config_overrides\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
            f"SlurmUser=root\nSlurmdUser=root\nStateSaveLocation={self.directory}/state\n"
            f"SlurmdSpoolDir={self.directory}/spool/%n\nSlurmctldPidFile={self.directory}/slurmctld.pid\n"
            f"SlurmdPidFile={self.directory}/slurmd-%n.pid\nMailProg=/bin/true\n"
            f"SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nSlurmdTimeout={seconds_until_down}\n"
            f"{nodes}PartitionName=all Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP\n"
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.configuration)}

    def __enter__(self) -> "Cluster":
        munge = self.directory / "munge"
        self.start("munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
                   f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed")  # fmt: skip
        try:
            self.wait("munged", lambda: (munge / "socket").exists())
            self.start("slurmctld", "-D", "-i")
            for node in NODES:
                self.start(node, "-D", "-N", node, program="slurmd")
            self.wait("idle nodes", lambda: self.ask("sinfo", "-h", "-o", "%D %t").strip() == f"{len(NODES)} idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self.daemons.values()):
            daemon.stop()
        self.kill(self.jobs())

    def start(self, name: str, *arguments: str, program: str | None = None) -> None:
        command = [program or name, *arguments]
        log = self.directory / f"{name}.log"
        self.daemons[name] = ServerProcess(name, command, self.environment, self.directory, log)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints; nothing while the controller is not there."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True).stdout

    def wait(self, what: str, holds: object, patience: float = 60.0) -> None:
        limit = time.monotonic() + patience
        while not holds():
            for daemon in self.daemons.values():
                daemon.check_alive()
            if time.monotonic() > limit:
                raise Failure(f"no {what} after {patience:.0f} s; see {self.directory}")
            time.sleep(0.2)

    def jobs(self, node: str | None = None) -> list[int]:
        """Processes of jobs of this cluster, on one node or on all."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            ours = f"SLURM_CONF={self.configuration}".encode() in variables
            at = next((value.decode() for value in variables if value.startswith(b"SLURMD_NODENAME=")), None)
            if ours and at and (node is None or at == f"SLURMD_NODENAME={node}"):
                found.append(int(name))
        return found

    def kill_node(self, node: str) -> int:
        """As if its machine lost power: the daemon, its job steps, and all that runs in them. Says how many."""
        jobs = self.jobs(node)
        # The job's first process is a child of the step's daemon, which doesn't have its environment.
        steps = {stat.parent for pid in jobs if (stat := read_stat(pid)) and stat.parent not in jobs} - {1}
        daemon = self.daemons.pop(node)
        daemon.process.kill()
        daemon.process.wait()
        # Workers of rscore are told by their parents, since their environment is chosen.
        members = {stat.pid for pid in jobs for stat in tree(pid)}
        self.kill([*steps, *members])
        return len(members)

    @staticmethod
    def kill(pids: list[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/slurm-try", description=__doc__)
    parser.add_argument("--products", type=int, default=60, help="partitions of the run")
    parser.add_argument("--stores", type=int, default=20, help="stores per product: more make a partition longer")
    options = parser.parse_args()
    root, target = Path(__file__).resolve().parents[3], Path(os.environ["TARGET_DIR"]).resolve()
    work = Path(tempfile.mkdtemp(prefix="slurm-try-"))
    rscore = Path(os.environ["RSCORE"]).resolve()
    scenario = Scenario(root, rscore, root / "models" / "oj-forecast" / "1", work, options.products, options.stores)
    scenario.prepare()
    with Azurite(target, work) as azurite, Cluster(work / "cluster") as cluster:
        scenario.upload(azurite)
        expected = scenario.undisturbed(azurite)
        job = scenario.write_job(azurite, "slurm")
        print(run(scenario, azurite, cluster, job, expected), flush=True)
    subprocess.run(["rm", "-rf", str(work)], check=True)


def run(scenario: Scenario, azurite: Azurite, cluster: Cluster, job: Path, expected: dict[str, bytes]) -> str:
    script = scenario.root / "scripts" / "slurm" / "rscore-batch.sbatch"
    path = f"{scenario.rscore.parent}:{os.environ['PATH']}"
    # As a user would: the credentials are in the environment of sbatch, which hands it on.
    sbatch = ["sbatch", "--parsable", "--array=0-1", "--cpus-per-task=1", f"--output={scenario.work}/%A-%a.log"]
    submitted = subprocess.run(
        [*sbatch, str(script), str(job), "--workers", "1"],
        env={**os.environ, **cluster.environment, **azurite.environment, "PATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    if submitted.returncode != 0:
        raise Failure(f"sbatch: {submitted.stderr.strip()}")
    identity = submitted.stdout.strip()
    name = f"slurm-{identity}"
    started = time.monotonic()
    part = scenario.products // 6
    cluster.wait("first commits", lambda: len(committed(azurite, "slurm", name)) >= part, 300.0)
    # As Slurm does before a time limit: the script's shell gets the signal, and rscore from it.
    cluster.ask("scancel", "--batch", "--signal=TERM", f"{identity}_0")
    cluster.wait("more commits", lambda: len(committed(azurite, "slurm", name)) >= 2 * part, 300.0)
    cluster.wait("task on the second node", lambda: cluster.jobs(NODES[1]))
    killed = cluster.kill_node(NODES[1])
    at_kill = len(committed(azurite, "slurm", name))
    if not killed or at_kill >= scenario.products:
        raise Failure(f"the node was killed too late: {at_kill} of {scenario.products} were committed; use --products")
    cluster.wait("end of the job", lambda: ended(cluster), 300.0)
    seconds = time.monotonic() - started
    found = verify(azurite, "slurm", name, scenario.products, expected)
    shown = cluster.ask("scontrol", "show", "job", identity)
    states = re.findall(r"JobState=(\S+).*?Restarts=(\d+)", shown, re.DOTALL)
    if [state for state, _ in states] != ["COMPLETED"] * 2 or not all(int(restarts) for _, restarts in states):
        raise Failure(f"the tasks ended as {states}; both were to be restarted; see {scenario.work}")
    return (
        f"task 0 stopped by SIGTERM, node {NODES[1]} killed with {killed} processes at {at_kill} of "
        f"{scenario.products} commits, both tasks queued again, {seconds:.0f} s: {found}"
    )


def ended(cluster: Cluster) -> bool:
    """Whether no task is left. One that was queued again would wait for two minutes, which needs no proof."""
    tasks = cluster.ask("squeue", "-h", "-r", "-o", "%i %t %r").splitlines()
    for task in tasks:
        if " PD " in task and "BeginTime" in task:
            cluster.ask("scontrol", "update", f"JobId={task.split()[0]}", "StartTime=now")
    return not tasks


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except Failure as failure:
        sys.exit(f"slurm-try: {failure}")
