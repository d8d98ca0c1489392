"""How scripts/chaos judges: python3 -m unittest discover tests/chaos."""

import contextlib
import json
import random
import socket
import ssl
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

LIB = Path(__file__).resolve().parents[2] / "scripts" / "lib"
sys.path[:0] = [str(LIB / "chaos"), str(LIB / "bench")]

import report
from callers import Mix, Tally
from cases import DEEDS, SLOW, Cases, Request, is_right, same
from certificates import Certificates
from changes import Changes
from processes import Failure
from watch import Sample, Watch


def request(predictions: object, by_version: bool = False) -> Request:
    return Request("m", "good", b"", predictions, frozenset({200}), by_version=by_version)


class Growing(unittest.TestCase):
    def growth(self, **grown: int) -> list[str]:
        flat = {"rss_bytes": 2**26, "descriptors": 100, "threads": 9, "pss_bytes": 2**29, "zygotes": 5, "workers": 10, "zombies": 0}
        watch = Watch.__new__(Watch)
        # Only what is there in the last quarter, compared with the second, is growth.
        first = {**flat, "pss_bytes": 0, "descriptors": 0, "rss_bytes": 0}
        last = {name: value + grown.get(name, 0) for name, value in flat.items()}
        watch.samples = [Sample(seconds=0, **values) for values in (first, first, flat, flat, flat, flat, last, last)]
        return watch.growth()

    def test_what_stays_flat_has_not_grown(self):
        self.assertEqual(self.growth(), [])
        self.assertEqual(self.growth(pss_bytes=2**26, descriptors=10, rss_bytes=2**24), [])

    def test_memory_and_descriptors_are_judged(self):
        for name, value, words in [
            ("rss_bytes", 2**27, "resident memory from 64 to 192 MiB"),
            ("pss_bytes", 2**28, "memory of all processes from 512 to 768 MiB"),
            ("descriptors", 50, "descriptors from 100 to 150"),
        ]:
            self.assertEqual(self.growth(**{name: value}), [words])


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


class Changing(unittest.TestCase):
    def changes(self, status: int = 200) -> Changes:
        repository = SimpleNamespace(next_generation=lambda: "version put", names=lambda: ["boston", "iris"])
        self.paths = []
        subject = SimpleNamespace(
            post=lambda path: self.paths.append(path) or (status, "why"), port=1, process=SimpleNamespace(pid=1)
        )
        certificates = SimpleNamespace(exchange=mock.Mock(), is_shown=mock.Mock(side_effect=[False, True] * 9))
        return Changes(repository, subject, certificates, random.Random(7))

    def test_each_kind_has_its_turn_and_the_order_is_left_to_chance(self):
        changes = self.changes()
        with mock.patch("os.kill") as kill:
            turns = [tuple(changes.next() for _ in range(4)) for _ in range(8)]
        kinds = {"version put", "model reloaded by the API", "SIGHUP", "certificate exchanged"}
        self.assertTrue(all(set(turn) == kinds for turn in turns), turns)
        self.assertGreater(len(set(turns)), 1)
        self.assertEqual(kill.call_count, 8)
        self.assertEqual(set(self.paths), {f"/models/{name}/reload?wait=true" for name in ("boston", "iris")})

    def test_a_reload_may_be_refused_and_must_be_answered(self):
        self.assertEqual(self.changes(409).reload_by_api(), "reload by the API refused")
        for status in (403, 404, 500, 503):
            with self.assertRaises(Failure):
                self.changes(status).reload_by_api()

    def test_what_a_server_shows_is_told_from_what_is_in_place(self):
        with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as listener:
            certificates = Certificates(Path(directory))
            certificates.make()
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates.certificate, certificates.key)
            server = threading.Thread(target=shake_hands, args=(listener, context, 3), daemon=True)
            server.start()
            port = listener.getsockname()[1]
            self.assertTrue(certificates.is_shown(port))
            certificates.exchange()
            self.assertFalse(certificates.is_shown(port))
            certificates.exchange()
            self.assertTrue(certificates.is_shown(port))
            server.join(10)


def shake_hands(listener: socket.socket, context: ssl.SSLContext, times: int) -> None:
    for _ in range(times):
        with contextlib.suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.recv(1)


if __name__ == "__main__":
    unittest.main()
