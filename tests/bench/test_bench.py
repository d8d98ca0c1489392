"""The benchmark's arithmetic and its handling of processes: python3 -m unittest discover tests/bench."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "lib" / "bench"))

import chart
import document
from processes import ServerProcess, still_lives
from recovery import listens
from summary import summarise, time_of
from table import figure, tables


def cell(server: str, rate: float, **others: object) -> dict[str, object]:
    return {
        "round": 1, "server": server, "workload": "forest-1x64", "requests_per_second": rate,
        "p50_ms": 5.0, "p90_ms": 6.0, "p99_ms": 7.0, "cpu_ms_per_request": 0.5, "first_process_cpu_ms_per_request": 0.1,
        "memory_mb": 100.0, "load_cpu_share": 0.5, "foreign_cpu_share": 0.01, "failed": 0, "requests": 1000,
        "batch_rows": None, **others,
    }  # fmt: skip


def results() -> dict[str, object]:
    kinds = {"rscore": "rscore", "slow": "R", "fast": "R", "snake": "Python"}
    return {
        "date": "2026-01-02", "revision": "abc", "command": "scripts/bench", "rounds": 3, "seconds": 4,
        "machine": {"processor": "P", "cores": 2, "memory_gb": 8, "system": "S", "kernel": "6", "r": "4",
                    "randomForest": "4"},
        "servers": {key: {"title": f"<{key}>", "kind": kind, "version": "1", "same_model": kind != "Python"}
                    for key, kind in kinds.items()},
        "differences": {"rscore": 0.0}, "failures": {},
        "limits": [{"forest": {"1": 1.0, "8": 2.0, "16": 4.0}, "trivial": 0.001}],
        "cells": [*(cell("rscore", rate, batch_rows=8.0) for rate in (1000.0, 3000.0, 9000.0)),
                  cell("slow", 100.0), cell("fast", 300.0), cell("snake", 600.0)],
        "starts": [{"round": 1, "server": "rscore", "model": "forest", "first_answer_s": 0.5, "replace_ms": [9.0, 11.0],
                    "kill_under_load": {"requests": 10, "failed": 0}}],
    }  # fmt: skip


class Arithmetic(unittest.TestCase):
    def test_medians_and_ratios_are_to_the_best_r_peer(self) -> None:
        table = summarise(results())["summary"]["forest-1x64"]
        self.assertEqual(table["rscore"]["requests_per_second"], 3000.0)
        self.assertEqual({key: row["ratio"] for key, row in table.items()}, {"rscore": 10, "slow": 1 / 3, "fast": 1, "snake": 2})

    def test_the_limit_is_batches_on_the_cores_that_are_left(self) -> None:
        limit = summarise(results())["summary"]["forest-1x64"]["rscore"]["limit"]
        # 8 rows in 2 ms on one and a half cores.
        self.assertAlmostEqual(limit["requests_per_second"], 6000.0)
        self.assertAlmostEqual(limit["share"], 0.5)

    def test_times_between_and_beyond_the_measured_sizes(self) -> None:
        times = {1: 1.0, 8: 8.0, 16: 10.0}
        self.assertEqual([time_of(times, rows) for rows in (1, 4, 12, 16, 32)], [1.0, 4.0, 9.0, 10.0, 20.0])

    def test_figures_have_three_digits(self) -> None:
        texts = [figure(value) for value in (1234.5, 12.345, 1.2345, 0.12345, 0.012345, 0.0, None)]
        self.assertEqual(texts, ["1,234", "12.3", "1.23", "0.123", "0.0123", "0", "-"])

    def test_noise_is_reported(self) -> None:
        noisy = results()
        noisy["cells"][0]["foreign_cpu_share"] = noisy["cells"][1]["foreign_cpu_share"] = 0.4
        self.assertIn("40 % of the cores", document.write(summarise(noisy), "chart.svg"))
        self.assertIn("40 % of the cores", chart.draw(summarise(noisy)))
        self.assertNotIn("quiet machine", document.write(summarise(results()), "chart.svg"))

    def test_every_server_is_in_table_and_chart(self) -> None:
        summary = summarise(results())
        plain = "\n".join(table.plain() for table in tables(summary))
        picture = chart.draw(summary)
        for key in summary["servers"]:
            self.assertIn(f"<{key}>", plain)
            self.assertIn(f"&lt;{key}&gt;", picture)


class Processes(unittest.TestCase):
    def test_a_server_that_ignores_sigterm_is_stopped_with_its_children(self) -> None:
        script = "trap '' TERM; echo ready; sleep 600 & while :; do wait; done"
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory, "log")
            server = ServerProcess("stubborn", ["bash", "-c", script], {}, Path(directory), log)
            while len(server.tree()) < 2:
                server.check_alive()
            members = server.tree()
            self.assertEqual([stat.parent for stat in server.leaves()], [server.pid])
            server.stop(patience=0.2)
        self.assertEqual(server.process.returncode, -signal.SIGKILL)
        for member in members:
            self.assertFalse(still_lives(member), member)

    def test_a_listener_is_seen(self) -> None:
        child = subprocess.Popen(["sleep", "600"])
        try:
            with socket.create_server(("127.0.0.1", 0)):
                self.assertTrue(listens(os.getpid()))
                self.assertFalse(listens(child.pid))
        finally:
            child.kill()
            child.wait()


if __name__ == "__main__":
    unittest.main()
