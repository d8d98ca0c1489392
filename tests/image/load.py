"""Calls a server from several threads, each call on a connection of its own, until it stops
listening. Prints how many were answered; fails when one that was sent got no answer, or a
wrong one."""

import argparse
import http.client
import json
import pathlib
import ssl
import threading
import time

ROW = {"Sepal.Length": 5.1, "Sepal.Width": 3.5, "Petal.Length": 1.4, "Petal.Width": 0.2}
LONGEST = 120


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--authority", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--started", type=pathlib.Path, required=True, help="file to make after some answers")
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args()
    counts = {"answered": 0, "told to go elsewhere": 0, "lost": 0, "wrong": 0}
    lock = threading.Lock()
    context = ssl.create_default_context(cafile=arguments.authority)

    def count(what):
        with lock:
            counts[what] += 1
            if counts["answered"] == 50:
                arguments.started.touch()

    def call():
        """Whether there is still a server."""
        connection = http.client.HTTPSConnection("localhost", arguments.port, context=context, timeout=30)
        try:
            connection.connect()
        except OSError:
            # Nothing was sent: a caller tries another server.
            return False
        headers = {"Authorization": f"Bearer {arguments.token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/models/iris/predict", json.dumps([ROW]), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            count("lost")
            return True
        finally:
            connection.close()
        if answer.status == 503:
            count("told to go elsewhere")
        elif answer.status == 200 and json.loads(body)["model"] == "iris":
            count("answered")
        else:
            count("wrong")
        return True

    def work():
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline and call():
            pass

    threads = [threading.Thread(target=work) for _ in range(arguments.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    return 1 if counts["lost"] or counts["wrong"] or not counts["answered"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
