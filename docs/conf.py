"""The site that `make docs` builds from this folder: Sphinx, with MyST for the pages and autodoc for the reference.

Rule 1: a page is plain Markdown that reads well in the repository too. What only the site needs is here and in `_site`.
Rule 2: a warning is an error, and the site loads nothing from another server.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from _site import docstrings, llms, reference  # noqa: E402  the folder of a configuration is not on Python's path
from docutils import nodes  # noqa: E402
from sphinx import addnodes  # noqa: E402

import voicepipe  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "voicepipe"
author = "voicepipe contributors"
release = version_of("voicepipe")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_site"]

html_theme = "furo"
html_title = f"voicepipe {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # a page on the disk may not read another one
html_use_index = False  # the search finds every name
html_domain_indices = False

myst_heading_anchors = 4

# Docstrings write code between single backticks, as Markdown does; a name that is public becomes a link.
default_role = "py:obj"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

# Pages of the repository that are pages of the site too. Their copies are Markdown under another ending, because the
# tests take each .md file here for a page of its own.
source_suffix = {".rst": "restructuredtext", ".md": "markdown", ".markdown": "markdown"}
ROOT_PAGES = ("CONTRIBUTING", "CHANGELOG", "SECURITY")
EXAMPLES = sorted((HERE.parent / "examples").glob("*.py"))


def write_generated(app: Sphinx) -> None:
    """Write the pages that are made of the code and of the repository's own; what has not changed keeps its time.

    A page that has changed is forgotten before any page is read: a name that has moved has one entry at all times.
    """
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    pages = {folder / f"{name}.rst": text for name, text in reference.pages().items()}
    pages |= {folder / f"{name.lower()}.markdown": _root_page(name) for name in ROOT_PAGES}
    for stale in set(folder.iterdir()) - set(pages):
        stale.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            app.env.clear_doc(f"{folder.name}/{path.stem}")


def lead_links_to_pages(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links to files outside this folder lead to the pages that hold them, and list pages that were forgotten."""
    if docname == "examples":
        source[0] += "".join(_example(path) for path in EXAMPLES)
    if docname == "index":
        forgotten = sorted(path.stem for path in HERE.glob("*.md") if f"   {path.stem}\n" not in source[0])
        source[0] += "\n.. toctree::\n   :caption: More\n\n   " + "\n   ".join(forgotten) if forgotten else ""
    for name in ROOT_PAGES:
        source[0] = source[0].replace(f"](../{name}.md", f"](reference/{name.lower()}.markdown")
    source[0] = re.sub(r"\]\(\.\./examples/(\w+)\.py\)", r"](examples.rst#\1)", source[0])


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    """Let a public name that a page writes as code lead to its entry in the reference."""
    if app.env.docname.startswith("reference/"):
        return
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext().removeprefix("vp.")
        if name.partition(".")[0] in voicepipe.__all__ and not isinstance(
            literal.parent, nodes.reference | nodes.title
        ):
            link = addnodes.pending_xref(reftarget=f"voicepipe.{name}", refdomain="py", reftype="obj", refexplicit=True)
            link["refdoc"] = app.env.docname
            literal.replace_self(link)
            link += literal


def _root_page(name: str) -> str:
    text = (HERE.parent / f"{name}.md").read_text(encoding="utf-8").replace("](docs/", "](../")
    for other in ROOT_PAGES:
        text = text.replace(f"]({other}.md", f"]({other.lower()}.markdown")
    return re.sub(r"\]\(examples/(\w+)\.py\)", r"](../examples.rst#\1)", text)


def _example(path: Path) -> str:
    return f"\n.. _{path.stem}:\n\n{path.name}\n{'-' * len(path.name)}\n\n.. literalinclude:: ../examples/{path.name}\n"


def setup(app: Sphinx) -> None:
    """Connect what is above to Sphinx."""
    app.connect("builder-inited", write_generated)
    app.connect("source-read", lead_links_to_pages)
    app.connect("autodoc-process-docstring", docstrings.as_restructured_text)
    app.connect("doctree-read", link_names)
    app.connect("build-finished", llms.write)
