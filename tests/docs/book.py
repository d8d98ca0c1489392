"""Whether every link of the book leads somewhere: to a file of it, and to a heading of that file.

    python3 tests/docs/book.py FOLDER
"""

import html.parser
import pathlib
import sys
import urllib.parse

# Pages that mdbook makes beside those of the summary; the first has all chapters once more.
MADE = {"print.html", "404.html", "toc.html"}


class Reader(html.parser.HTMLParser):
    """The links of a page and what links may name in it."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.names.add(value)
            elif name in ("href", "src") and tag in ("a", "img"):
                self.links.append(value)


def broken_links(book: pathlib.Path):
    pages = {path: Reader(path.read_text()) for path in book.glob("*.html") if path.name not in MADE}
    for path, page in pages.items():
        for link in page.links:
            address = urllib.parse.urlsplit(link)
            if address.scheme:
                continue
            target = (path.parent / urllib.parse.unquote(address.path)).resolve() if address.path else path.resolve()
            if not target.exists() or book.resolve() not in [target, *target.parents]:
                yield f"{path.name} links to {link}, which is not in the book"
            elif address.fragment and urllib.parse.unquote(address.fragment) not in named(pages, target):
                yield f"{path.name} links to {link}, which has no such heading"


def named(pages: dict[pathlib.Path, Reader], target: pathlib.Path) -> set[str]:
    return next((page.names for path, page in pages.items() if path.resolve() == target), set())


def main() -> int:
    book = pathlib.Path(sys.argv[1])
    broken = list(broken_links(book))
    print(*broken, sep="\n", end="\n" if broken else "")
    return 1 if broken or not any(book.glob("*.html")) else 0


if __name__ == "__main__":
    raise SystemExit(main())
