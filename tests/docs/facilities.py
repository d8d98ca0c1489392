"""What a page may need beside its own commands: the server of scripts/serve, or a store."""

import pathlib
import sys

import place
from page import Block, Page

sys.path += [str(place.ROOT / "scripts" / "lib" / part) for part in ("forecast", "bench")]

from stores import Azurite  # noqa: E402  # lies in the folders that were just named


def server_block() -> Block:
    """What scripts/serve does when all is installed, built and trained."""
    return Block(0, "sh", "rscore serve --dev --workers 2\n", {})


class Store:
    """The emulator of Azure Blob with the sample models, for a page that needs it; else nothing."""

    def __init__(self, page: Page, checkout: pathlib.Path, environment: dict[str, str]):
        self.azurite = None
        if "store" not in page.needs:
            return
        self.azurite = Azurite(place.TARGET, checkout.parent / "store")
        environment.update(self.azurite.environment)
        for name in ("boston", "mpg"):
            for file in sorted((checkout / "models" / name / "1").iterdir()):
                self.azurite.write(f"models/{name}/1/{file.name}", file.read_bytes())

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        if self.azurite:
            self.azurite.__exit__()
