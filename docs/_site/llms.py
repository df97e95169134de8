"""`llms.txt`: the site for programs that read, a line a page; and `llms-full.txt`, all pages in one file.

The form is that of https://llmstxt.org: a heading, a summary, then sections of links with what each page is about.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["write", "written"]

SUMMARY: Final = (
    "Voice agents in Python as a pipeline of asyncio stages: each sentence is spoken while later tokens still arrive, "
    "tools are typed functions, callers can interrupt, and the history holds only what they heard."
)

ENOUGH: Final = 70
"""So many characters say what a page is about."""


def sections(index: str) -> dict[str, list[str]]:
    """Return the pages of each caption of the site's navigation, in order."""
    found: dict[str, list[str]] = {}
    pages: list[str] = []
    for line in index.splitlines():
        if caption := re.match(r"\s+:caption: (.+)", line):
            pages = found.setdefault(caption[1], [])
        elif page := re.match(r"   ([\w\[\]/-]+)$", line):
            pages.append(page[1].replace("[", "").replace("]", ""))
    return found


def opening(markdown: str) -> tuple[str, str]:
    """Return the title of a page, and the first sentences of its first paragraph that say enough, without links."""
    title = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    prose = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    paragraphs = [" ".join(part.split()) for part in prose.split("\n\n") if part.strip() and not part.startswith("#")]
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", paragraphs[0] if paragraphs else "").rstrip(":")
    about = ""
    for sentence in re.split(r"(?<=[.?!]) (?=[A-Z`*])", plain):
        about = f"{about} {sentence}".strip()
        if len(about) >= ENOUGH:
            break
    return (title[1] if title else ""), about


def written(folder: Path) -> dict[str, str]:
    """Return the two files by name, from the pages of a folder."""
    listed, whole = [f"# voicepipe\n\n> {SUMMARY}\n"], [f"# voicepipe\n\n> {SUMMARY}\n"]
    for caption, pages in sections((folder / "index.rst").read_text(encoding="utf-8")).items():
        lines = []
        for page in pages:
            path = folder / f"{page}.md"
            if path.is_file():
                markdown = path.read_text(encoding="utf-8")
                title, about = opening(markdown)
                lines.append(f"- [{title}]({page}.html): {about}")
                whole.append(markdown)
        if lines:
            listed.append(f"## {caption}\n\n" + "\n".join(lines) + "\n")
    listed.append("## Optional\n\n- [All pages in one file](llms-full.txt)\n- [API reference](reference/index.html)\n")
    return {"llms.txt": "\n".join(listed), "llms-full.txt": "\n\n".join(whole)}


def write(app: Sphinx, error: Exception | None) -> None:
    """Write both files next to the pages."""
    if error is None:
        for name, text in written(Path(app.srcdir)).items():
            Path(app.outdir, name).write_text(text, encoding="utf-8")
