"""What a page has that can be run: its fenced blocks, each with the marks above it.

A mark is an HTML comment on the line above a block, which readers don't see:

    <!-- not run: REASON -->        what it needs that is not here
    <!-- run by: STEP -->           the step of scripts/test that runs it
    <!-- in the background -->      a server, which goes on beside the blocks that follow
    <!-- exit code: N -->           the block's last command ends so
    <!-- file: PATH -->             the block is the text of this file; it is written, not run
    <!-- same as: PATH -->          the block is the text of this file of the repository
    <!-- figures vary -->           of the block's output the numbers, digests and ids are not compared

A data block right below a block that is run is its output; `...` stands for any text. Every
other form is a mistake, so that a new command is run or says why not. A page as a whole may
say `<!-- needs: server -->` or `<!-- needs: store -->`.
"""

import dataclasses
import pathlib
import re

PROGRAMS = {"sh", "r", "python", "js"}
DATA = {"text", "json", "toml", "csv", "yaml", "dockerfile"}
MARKS = {"not run", "run by", "in the background", "exit code", "file", "same as", "figures vary"}
BARE_MARKS = {"in the background", "figures vary"}
FACILITIES = {"server", "store"}

FENCE = re.compile(r"```(\S*)$")
COMMENT = re.compile(r"<!-- ([a-z ]+?)(?:: (.+))? -->$")
INDENTED = re.compile(r" {4}\S")
LIST_ITEM = re.compile(r"\s*([-*]|\d+\.) ")


class PageError(Exception):
    """A block that is neither run nor marked, or a mark that says nothing."""


@dataclasses.dataclass
class Block:
    """A fenced block with the number of its first line."""

    line: int
    kind: str
    text: str
    marks: dict[str, str]
    output: "Block | None" = None

    @property
    def is_program(self) -> bool:
        return self.kind in PROGRAMS and not {"file", "same as"} & self.marks.keys()

    @property
    def is_run(self) -> bool:
        return self.is_program and not {"not run", "run by"} & self.marks.keys()


@dataclasses.dataclass
class Page:
    """The blocks of a file in their order, and what it needs beside them."""

    path: pathlib.Path
    blocks: list[Block]
    needs: set[str]


def read_page(path: pathlib.Path) -> Page:
    return parse(path, path.read_text())


def parse(path: pathlib.Path, text: str) -> Page:
    lines = text.split("\n")
    blocks: list[Block] = []
    needs: set[str] = set()
    marks: dict[str, str] = {}
    # The block that an output may follow: only blank lines and marks are between.
    above: Block | None = None
    in_list = False
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if fence := FENCE.match(line):
            start = number
            while number < len(lines) and lines[number] != "```":
                number += 1
            if number == len(lines):
                raise PageError(f"{path}:{start}: the block is not closed")
            block = Block(start, fence[1], "\n".join(lines[start:number]) + "\n", marks)
            number += 1
            check(path, block)
            if above and above.is_program and block.kind in DATA and not {"file", "same as"} & marks.keys():
                above.output = block
            blocks.append(block)
            above, marks = block, {}
        elif comment := COMMENT.match(line):
            name, value = comment[1], comment[2] or ""
            if name == "needs":
                needs |= facilities(path, number, value)
            elif next(iter(lines[number:]), "").startswith(("```", "<!--")):
                marks[name] = value
        elif line.strip():
            if INDENTED.match(line) and not in_list and not lines[number - 2].strip():
                raise PageError(f"{path}:{number}: a block by indentation; fence it with its kind")
            in_list = bool(LIST_ITEM.match(line)) or (in_list and line.startswith(" "))
            above, marks = None, {}
    return Page(path, blocks, needs)


def facilities(path: pathlib.Path, number: int, value: str) -> set[str]:
    names = set(value.split(", "))
    if names - FACILITIES:
        raise PageError(f"{path}:{number}: a page can't need {value}; there are {', '.join(sorted(FACILITIES))}")
    return names


def check(path: pathlib.Path, block: Block) -> None:
    """A block is of a kind that is known, and its marks say what they must."""
    where = f"{path}:{block.line}"
    if block.kind not in PROGRAMS | DATA:
        raise PageError(f"{where}: a block of the kind '{block.kind}' is neither run nor data")
    for name, value in block.marks.items():
        if name not in MARKS:
            raise PageError(f"{where}: there is no mark '{name}'")
        if (name in BARE_MARKS) == bool(value):
            raise PageError(f"{where}: the mark '{name}' {'takes no text' if value else 'says nothing'}")
    if not block.is_program and {"not run", "run by", "in the background", "exit code"} & block.marks.keys():
        raise PageError(f"{where}: the block is not run; the mark is for one that is")
