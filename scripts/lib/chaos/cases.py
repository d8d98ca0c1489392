"""Requests with the answers that R gives for them, and what becomes of an answer."""

import json
import random
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Statuses that a request has earned which does harm, by what it does. A deed that R
# survives is answered; one that ends the process is found out, and refused for a while
# when it comes again; one that takes too long is stopped.
DEEDS = {
    "quit": {502},
    "segfault": {502},
    "abort": {502},
    "error": {500},
    "recursion": {500, 502},
    "allocation": {500, 502},
    "output": {200},
    "loop": {504},
    "sleep": {504},
}
# Of these deeds the request says itself how long it may take.
SLOW = {"loop", "sleep"}


@dataclass(frozen=True)
class Request:
    """A request, and what may come back."""

    model: str
    kind: str
    body: bytes
    # Predictions as R gave them; None where none are due.
    predictions: Any
    statuses: frozenset[int]
    timeout_ms: int = 0
    # The columns of the predictions are those of versions 1, 2, ...
    by_version: bool = False


class Cases:
    """Draws requests."""

    def __init__(self, path: Path, seed: int, poison_every: int, hang_every: int, bad_every: int):
        read = json.loads(path.read_text())
        self.random = random.Random(seed)
        self.poison_every, self.hang_every, self.bad_every = poison_every, hang_every, bad_every
        self.good = {
            model: [
                Request(
                    model, "good", json.dumps(case["rows"]).encode(), case["predictions"], frozenset({200}),
                    by_version=model == "generations",
                )
                for case in cases
            ]
            for model, cases in read.items()
        }  # fmt: skip
        self.models = sorted(self.good)

    def draw(self) -> Request:
        chance = self.random.random
        if chance() < 1 / self.poison_every:
            return self.harm(self.random.choice([deed for deed in DEEDS if deed not in SLOW]))
        if chance() < 1 / self.hang_every:
            return self.harm(self.random.choice(sorted(SLOW)))
        if chance() < 1 / self.bad_every:
            return Request("boston", "bad rows", b'[{"crim": "much"}]', None, frozenset({422}))
        return self.random.choice(self.good[self.random.choice(self.models)])

    def harm(self, deed: str) -> Request:
        # A body of its own each time: the second of equal bodies may be known and refused.
        x = self.random.random()
        body = json.dumps([{"x": x, "deed": deed}]).encode()
        return Request(
            "poison", deed, body, None, frozenset(DEEDS[deed]), timeout_ms=1000 if deed in SLOW else 0
        )


def is_right(request: Request, answer: bytes) -> bool:
    """Whether an answer has R's predictions, to the last bit."""
    try:
        read = json.loads(answer)
        got = read["predictions"]
        if request.predictions is None:
            return True
        expected = request.predictions
        if request.by_version:
            expected = [row[str(read["version"])] for row in expected]
        return same(expected, got)
    except (ValueError, LookupError, TypeError):
        return False


def same(expected: Any, got: Any) -> bool:
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(got) is type(expected) and got == expected
    if isinstance(expected, (int, float)):
        return isinstance(got, (int, float)) and not isinstance(got, bool) and bits(expected) == bits(got)
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and all(map(same, expected, got))
    return isinstance(got, dict) and got.keys() == expected.keys() and all(same(expected[key], got[key]) for key in expected)


def bits(number: float) -> bytes:
    return struct.pack("<d", number)
