"""The models that are served: the samples, one that does harm when a row says so, and one
that is replaced while it is served.
"""

import os
import shutil
import subprocess
from pathlib import Path

from processes import Failure

HERE = Path(__file__).parent
SAMPLES = ("boston", "iris", "rides")

POISON = """\
script = "score.R"
row_independent = true
timeout = "10s"

[columns]
x = { type = "double", nullable = false }
deed = { type = "factor", nullable = false, levels = ["none", "quit", "segfault", "abort", "error", "recursion", "allocation", "output", "loop", "sleep"] }
"""

GENERATION = """\
script = "score.R"
row_independent = true

[columns]
x = { type = "double", nullable = false }
"""


class Repository:
    """A folder of models, made anew."""

    def __init__(self, path: Path, root: Path):
        self.path = path
        self.root = root
        self.generation = 0

    def make(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        for name in SAMPLES:
            source = self.root / "models" / name / "1"
            if not (source / "model.rds").exists():
                raise Failure(f"models/{name}/1 was not trained; run scripts/train")
            shutil.copytree(source, self.path / name / "1")
        poison = self.path / "poison" / "1"
        poison.mkdir(parents=True)
        (poison / "rscore.toml").write_text(POISON)
        (poison / "sample.json").write_text('[{"x": 1, "deed": "none"}, {"x": 2, "deed": "none"}]\n')
        shutil.copy(HERE / "poison.R", poison / "score.R")
        shutil.copy(HERE / "poison.c", poison / "poison.c")
        compiled = subprocess.run(
            ["R", "CMD", "SHLIB", "poison.c"], cwd=poison, capture_output=True, text=True, check=False
        )
        if compiled.returncode != 0:
            raise Failure(f"poison.c can't be compiled: {compiled.stderr.strip()[-500:]}")
        for leftover in ("poison.c", "poison.o"):
            (poison / leftover).unlink()
        self.next_generation()

    def names(self) -> list[str]:
        return sorted(model.name for model in self.path.iterdir())

    def next_generation(self) -> str:
        """Puts another version of the model "generations" in place, whole at once, and takes away those before the
        last that is sound. Every fourth can't be loaded: the one before it must go on serving."""
        self.generation += 1
        broken = self.generation % 4 == 0
        model = self.path / "generations"
        model.mkdir(exist_ok=True)
        partial = self.path.parent / "partial-generation"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (partial / "rscore.toml").write_text(GENERATION)
        (partial / "sample.json").write_text('[{"x": 1}, {"x": 2}, {"x": 3}]\n')
        (partial / "score.R").write_text(
            "load <- function(dir) NULL\n"
            f"score <- function(model, data) cos(data$x) * {self.generation}{' +' * broken}\n"
        )
        os.rename(partial, model / str(self.generation))
        for old in model.iterdir():
            if int(old.name) < self.generation - 2:
                shutil.rmtree(old)
        return "unsound version put" if broken else "version put"
