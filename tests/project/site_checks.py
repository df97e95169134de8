"""What `make docs` has built: it loads nothing from elsewhere, and every link in it leads somewhere.

Not collected by a plain run of the tests, because it needs the site: `make docs` runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import voicepipe

SITE = Path(__file__).parents[2] / "build" / "site"
PAGES = sorted(SITE.glob("**/*.html"))
LOADED = {"src", "srcset", "poster", "data"}
"""Attributes whose address a browser loads by itself; `href` counts where a `link` has it."""


class Page(HTMLParser):
    """The addresses that a page loads, those that it links, and its anchors."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.anchors: set[str] = set()
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in LOADED or (tag == "link" and name == "href"):
                self.loaded.append(value or "")
            elif tag == "a" and name == "href":
                self.linked.append(value or "")


@cache
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def is_elsewhere(address: str) -> bool:
    return bool(urlsplit(address).netloc) or urlsplit(address).scheme not in ("", "data")


def broken(path: Path) -> Iterator[str]:
    """Yield the links of a page to files or anchors of the site that do not exist."""
    for address in page(path).linked + page(path).loaded:
        parts = urlsplit(address)
        if is_elsewhere(address) or parts.scheme:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        target = target / "index.html" if target.is_dir() else target
        anchors = page(target).anchors if target.suffix == ".html" and target.is_file() else set()
        if not target.is_file() or (parts.fragment and anchors and unquote(parts.fragment) not in anchors):
            yield address


def test_there_is_a_site() -> None:
    """The site has the first page, the pages of this folder and those of the reference."""
    names = {str(path.relative_to(SITE)) for path in PAGES}
    assert {"index.html", "tutorial.html", "glossary.html", "reference/index.html", "search.html"} <= names


def test_nothing_is_loaded_from_another_server() -> None:
    """Pages, style sheets and pictures need no network: no font, script or picture is loaded from elsewhere."""
    loaded = {f"{path.name}: {address}" for path in PAGES for address in page(path).loaded if is_elsewhere(address)}
    styles = [path for path in SITE.glob("**/*") if path.suffix in (".css", ".svg")]
    found = re.compile(r"""(?:url\(["']?|@import ["'])(?:https?:)?//[^)"']+""")
    loaded |= {f"{path.name}: {text}" for path in styles for text in found.findall(path.read_text(encoding="utf-8"))}
    assert loaded == set()


def test_every_link_leads_somewhere() -> None:
    """Each link within the site, those of the reference included, leads to a file that is there, and to its anchor."""
    assert [f"{path.relative_to(SITE)}: {link}" for path in PAGES for link in broken(path)] == []


def test_the_reference_has_every_public_name() -> None:
    """Each class and function of an `__all__` has its entry in the reference, under one of its public names."""
    watching = Path(voicepipe.__file__).with_name("watching").glob("*/__init__.py")
    others = ("audio", "fleet", "serving", "testing", *(f"watching.{path.parent.name}" for path in watching))
    anchors = {anchor for path in SITE.glob("reference/*.html") for anchor in page(path).anchors}
    names: dict[int, set[str]] = {}
    for module in (voicepipe, *(import_module(f"voicepipe.{other}") for other in others)):
        for name in getattr(module, "__all__", ()):
            names.setdefault(id(getattr(module, name)), set()).add(f"{module.__name__}.{name}")
    assert [sorted(known) for known in names.values() if not known & anchors] == [["voicepipe.audio"]]  # has a page


def test_programs_find_every_page() -> None:
    """`llms.txt` names each page of prose with a sentence, and `llms-full.txt` holds all of them."""
    listed = (SITE / "llms.txt").read_text(encoding="utf-8")
    whole = (SITE / "llms-full.txt").read_text(encoding="utf-8")
    for markdown in sorted((SITE.parents[1] / "docs").glob("*.md")):
        assert re.search(rf"^- \[.+\]\({markdown.stem}\.html\): .{{15,}}$", listed, re.MULTILINE), markdown.name
        assert markdown.read_text(encoding="utf-8") in whole
