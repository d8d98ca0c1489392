"""Runs what the pages of the documentation say, and compares what comes of it.

    python3 tests/docs [PAGE...]        default: README.md, docs/*.md, the pages beside certificates and manifests, and help.md
"""

import argparse
import collections
import pathlib
import re
import tempfile
import time

import place
from examples import of_help
from expected import fits
from facilities import Store, server_block
from page import Block, Page, PageError, read_page
from shell import Shell

PATTERNS = ["README.md", "docs/*.md", "certs/README.md", "k8s/README.md", "k8s/overlays/*/README.md"]
# Has the examples of every `--help`.
HELP = pathlib.Path("tests/docs/help.md")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=pathlib.Path, metavar="PAGE")
    arguments = parser.parse_args()
    place.enter_network()
    paths = arguments.pages or [path.relative_to(place.ROOT) for pattern in PATTERNS for path in sorted(place.ROOT.glob(pattern))]
    paths += [] if arguments.pages else [HELP]
    failures = 0
    counts: collections.Counter[str] = collections.Counter()
    for path in paths:
        started = time.monotonic()
        try:
            page = read_page(place.ROOT / path)
            check_steps(page)
            if path == HELP:
                check_help(page)
            run_page(page)
        except PageError as error:
            failures += 1
            print(f"{path}: {error}")
            continue
        counts += count(page)
        if commands := sum(block.is_run for block in page.blocks):
            print(f"{path}: {commands} blocks run in {time.monotonic() - started:.1f} s")
    for what, number in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{number:4} {what}")
    return 1 if failures else 0


def count(page: Page) -> collections.Counter[str]:
    counts: collections.Counter[str] = collections.Counter()
    for block in page.blocks:
        if block.is_run:
            counts["run"] += 1
            counts["of these compared with their output"] += block.output is not None
        elif block.is_program:
            counts.update(f"{name}: {block.marks[name]}" for name in ("not run", "run by") if name in block.marks)
        elif "file" in block.marks:
            counts["files written for them"] += 1
        elif "same as" in block.marks:
            counts["compared with a file of the repository"] += 1
    return counts


def check_steps(page: Page) -> None:
    """What a mark names as a step of scripts/test is one."""
    steps = re.findall(r'^  "([^|"]+)\|', (place.ROOT / "scripts" / "test").read_text(), re.MULTILINE)
    for block in page.blocks:
        if (step := block.marks.get("run by")) and step not in steps:
            raise PageError(f"line {block.line}: scripts/test has no step '{step}'")


def check_help(page: Page) -> None:
    """Every example of the program's help stands on the page, on a line of its own."""
    lines = {" ".join(line.split()) for block in page.blocks for line in block.text.split("\n")}
    if missing := set(of_help()) - lines:
        raise PageError(f"examples of --help that are not here: {sorted(missing)}")


def run_page(page: Page) -> None:
    """The blocks in their order, in a copy of the checkout."""
    if not any(block.is_run or "same as" in block.marks for block in page.blocks):
        return
    with tempfile.TemporaryDirectory(prefix="rscore-docs-") as name:
        folder, notes, home = (pathlib.Path(name) / part for part in ("checkout", "notes", "home"))
        notes.mkdir()
        place.copy_checkout(folder)
        environment = place.environment(home)
        with Store(page, folder, environment), Shell(folder, notes, environment) as shell:
            if "server" in page.needs:
                shell.start(server_block())
            for block in page.blocks:
                try:
                    play(block, folder, shell)
                except PageError as error:
                    raise PageError(f"line {block.line}: {error}") from None


def play(block: Block, folder: pathlib.Path, shell: Shell) -> None:
    if path := block.marks.get("file"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(block.text)
    elif path := block.marks.get("same as"):
        if (place.ROOT / path).read_text() != block.text:
            raise PageError(f"the block is not the text of {path}")
    elif block.is_run and "in the background" in block.marks:
        shell.start(block)
    elif block.is_run:
        status, printed = shell.run(block)
        wanted = int(block.marks.get("exit code", 0))
        if status != wanted:
            raise PageError(f"ended with status {status}, not {wanted}:\n{block.text}\n{printed}")
        if block.output and not fits(block.output.text, printed, "figures vary" in block.output.marks):
            raise PageError(f"printed something else than line {block.output.line} says:\n{block.text}\n{printed}")


if __name__ == "__main__":
    raise SystemExit(main())
