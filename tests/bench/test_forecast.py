"""The checks of the scripts that disturb batch runs: each must fail when it should."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "lib"
sys.path[:0] = [str(SCRIPTS / "bench"), str(SCRIPTS / "forecast")]

from benchmark import rows_of, sort_quantiles
from processes import Failure
from runs import verify
from stores import Folder

HEADER = b"sku,store,week,q50\n"
STATE = "out/_rscore/runs/r"


class Verify(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.store = Folder(Path(directory.name))
        for product in (1, 2):
            self.store.write(f"out/product{product}.csv", HEADER + b"1,1,108,2.5\n1,1,109,3.5\n")
            self.store.write(f"{STATE}/commits/0/{product}.json", b"{}")
        self.report(read=4, written=4)
        self.store.write(f"{STATE}/_SUCCESS", b"")

    def report(self, read: int, written: int, conserved: bool = True) -> None:
        rows = {"read": read, "written": written, "quarantined": 0, "failed": 0}
        self.store.write(f"{STATE}/report.json", json.dumps({"rows": rows, "conserved": conserved}).encode())

    def refused(self, words: str, expected: dict[str, bytes] | None = None) -> None:
        with self.assertRaisesRegex(Failure, words):
            verify(self.store, "out", "r", 2, expected)

    def test_a_complete_run_passes(self) -> None:
        self.assertIn("4 rows", verify(self.store, "out", "r", 2))

    def test_outputs_and_commits_are_counted(self) -> None:
        self.store.write("out/product3.csv", HEADER)
        self.refused("product3.csv")
        (self.store.directory / "out/product3.csv").unlink()
        self.store.write(f"{STATE}/commits/0/3.json", b"{}")
        self.refused("3 commits of 2")

    def test_a_row_twice_is_found(self) -> None:
        self.store.write("out/product1.csv", HEADER + b"1,1,108,2.5\n1,1,108,2.5\n")
        self.refused("product1.csv has 1 rows twice")

    def test_other_bytes_are_found(self) -> None:
        contents = self.store.read("out/product1.csv")
        self.refused("product2.csv differs", {"product1.csv": contents, "product2.csv": contents + b"1,1,110,1\n"})

    def test_lost_rows_are_found(self) -> None:
        self.report(read=5, written=4)
        self.refused("4 rows in the outputs")
        self.report(read=5, written=5)
        self.refused("4 rows in the outputs")
        self.report(read=4, written=4, conserved=False)
        self.refused("rows were lost")

    def test_a_run_without_its_mark_is_not_done(self) -> None:
        (self.store.directory / STATE / "_SUCCESS").unlink()
        self.refused("no _SUCCESS")


class Numbers(unittest.TestCase):
    def test_quantiles_are_sorted_within_a_row(self) -> None:
        (row,) = rows_of(b"sku,q5,q25,q50,q75,q95\n9,1,3,2,5.5,4\n")
        sort_quantiles(row)
        self.assertEqual(row, {"sku": 9, "q5": 1, "q25": 2, "q50": 3, "q75": 4, "q95": 5.5})


if __name__ == "__main__":
    unittest.main()
