"""How scripts/chaos judges: python3 -m unittest discover tests/chaos."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

LIB = Path(__file__).resolve().parents[2] / "scripts" / "lib"
sys.path[:0] = [str(LIB / "chaos"), str(LIB / "bench")]

import report
from callers import Mix, Tally
from cases import DEEDS, SLOW, Cases, Request, is_right, same


def request(predictions: object, by_version: bool = False) -> Request:
    return Request("m", "good", b"", predictions, frozenset({200}), by_version=by_version)


class Judging(unittest.TestCase):
    def test_numbers_are_the_same_to_the_last_bit(self):
        self.assertTrue(same([1, 0.1, None, True, "a"], [1.0, 0.1, None, True, "a"]))
        for expected, got in [(0.1, 0.10000000000000002), (0.0, -0.0), (1, True), (None, 0), ("1", 1), ([1], [1, 2])]:
            self.assertFalse(same(expected, got), (expected, got))

    def test_an_answer_needs_all_predictions(self):
        self.assertTrue(is_right(request([1.5]), b'{"predictions":[1.5],"warnings":[]}'))
        for wrong in [b'{"predictions":[1.5,2]}', b'{"predictions":[]}', b"{}", b"", b"[1.5]", b"not JSON"]:
            self.assertFalse(is_right(request([1.5]), wrong), wrong)

    def test_a_version_is_held_to_its_own_numbers(self):
        versions = request([{"1": 1.0, "2": 2.0}], by_version=True)
        self.assertTrue(is_right(versions, b'{"version":2,"predictions":[2]}'))
        self.assertFalse(is_right(versions, b'{"version":1,"predictions":[2]}'))
        self.assertFalse(is_right(versions, b'{"version":3,"predictions":[3]}'))


class Drawing(unittest.TestCase):
    def test_a_seed_gives_the_same_requests_and_each_kind_comes(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "cases.json")
            path.write_text(json.dumps({"m": [{"rows": [{"x": 1}], "predictions": [1]}]}))
            mix = Mix(poison=4, hang=8, bad=16)
            first, second = (Cases(path, 7, mix.poison, mix.hang, mix.bad) for _ in range(2))
            drawn = [first.draw() for _ in range(2000)]
            self.assertEqual(drawn, [second.draw() for _ in range(2000)])
            self.assertEqual({one.kind for one in drawn}, {"good", "bad rows", *DEEDS})
            self.assertTrue(all((one.timeout_ms > 0) == (one.kind in SLOW) for one in drawn))


class Reporting(unittest.TestCase):
    def test_what_was_lost_or_wrong_or_left_fails_the_run(self):
        good = {"lost": {}, "wrong": 0, "right": 1, "fault_failures": [], "growth": [], "zombies_at_end": 0,
                "exit_status": 0, "left_behind": 0}  # fmt: skip
        self.assertEqual(report.failures(good), [])
        for fault in [{"lost": {"m, good, 503": 1}}, {"wrong": 1}, {"right": 0}, {"fault_failures": ["no"]},
                      {"growth": ["rss"]}, {"zombies_at_end": 1}, {"exit_status": None}, {"left_behind": 1}]:  # fmt: skip
            self.assertEqual(len(report.failures({**good, **fault})), 1, fault)

    def test_tallies_add_up(self):
        one, two = Tally(sent=1, right=1), Tally(sent=2, wrong=1)
        one.lost["m", "good", "503"] += 1
        two.add(one)
        self.assertEqual((two.sent, two.right, two.wrong, report.named(two.lost)), (3, 1, 1, {"m, good, 503": 1}))


if __name__ == "__main__":
    unittest.main()
