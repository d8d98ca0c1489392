"""The examples that `rscore --help` and that of every subcommand give."""

import re
import subprocess
from collections.abc import Iterator

import place

BEGINNINGS = ("rscore ", "TOKEN=", "source ")


def of_help(command: tuple[str, ...] = ()) -> Iterator[str]:
    """Each as one line, without what stands behind it as an explanation."""
    binary = place.TARGET / "debug" / "rscore"
    text = subprocess.run([binary, *command, "--help"], check=True, capture_output=True, text=True).stdout
    example = ""
    for line in text.partition("\nExamples:\n")[2].split("\n"):
        if line.strip().startswith(BEGINNINGS) or not line.strip():
            if example:
                yield example
            example = ""
            if not line.strip():
                break
        # Long lines are wrapped.
        example = f"{example} {re.split(r' {2,}', line.strip())[0]}".strip()
    commands = text.partition("\nCommands:\n")[2].partition("\n\n")[0]
    for name in re.findall(r"^  (\w+) ", commands, re.MULTILINE):
        if name != "help":
            yield from of_help((*command, name))
