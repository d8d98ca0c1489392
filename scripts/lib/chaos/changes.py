"""What an operator does to a server that serves: puts versions, has models loaded again, exchanges the certificate."""

import os
import random
import signal
import time
from collections.abc import Callable

from certificates import Certificates
from processes import Failure
from repository import Repository
from subject import Subject

# How long the server may take to show another certificate: a few times what it looks at files.
NOTICED = 20.0


class Changes:
    """Each kind in turn, in an order that is left to chance."""

    def __init__(self, repository: Repository, subject: Subject, certificates: Certificates, chance: random.Random):
        self.repository, self.subject, self.certificates, self.chance = repository, subject, certificates, chance
        self.kinds = [repository.next_generation, self.reload_by_api, self.hang_up, self.exchange_certificate]
        self.turn: list[Callable[[], str]] = []

    def next(self) -> str:
        """Does one, and says what."""
        if not self.turn:
            self.turn = self.chance.sample(self.kinds, len(self.kinds))
        return self.turn.pop()()

    def reload_by_api(self) -> str:
        name = self.chance.choice(self.repository.names())
        status, body = self.subject.post(f"/models/{name}/reload?wait=true")
        # Its zygote may be among those that are killed, and a version is unsound on purpose.
        if status not in (200, 409):
            raise Failure(f"POST /models/{name}/reload: {status} {body[:300]}")
        return "model reloaded by the API" if status == 200 else "reload by the API refused"

    def hang_up(self) -> str:
        os.kill(self.subject.process.pid, signal.SIGHUP)
        return "SIGHUP"

    def exchange_certificate(self) -> str:
        self.certificates.exchange()
        limit = time.monotonic() + NOTICED
        while not self.certificates.is_shown(self.subject.port):
            if time.monotonic() > limit:
                raise Failure(f"another certificate was not shown within {NOTICED:.0f} s")
            time.sleep(0.05)
        return "certificate exchanged"
