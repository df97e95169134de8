"""What a package index shows of the project: its README and its URLs, with addresses that work on the index's page.

Rule 1: the repository's address is written once, as `repository` under [tool.hatch.metadata.hooks.custom].
Rule 2: without an address nothing is made up: there are no URLs, and a link to a file, or a picture, becomes its text.

The paths are those of GitHub and GitLab, and a release is tagged with its version, e.g. "v0.1.0".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from hatchling.metadata.plugin.interface import MetadataHookInterface

# A link such as [text](target), or a picture. Its text may hold one pair of brackets, as in [`voicepipe[local]`](#it).
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


class IndexPage(MetadataHookInterface):
    """Sets `readme` and `urls` of the metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set what pyproject.toml declares as dynamic.

        Raises:
            ValueError: The address is not one that a link can begin with.
        """
        repository = self.config.get("repository", "")
        parts = urlsplit(repository)
        if repository and not (parts.scheme == "https" and parts.netloc and not repository.endswith("/")):
            raise ValueError(
                f"repository in pyproject.toml must be an address that begins with https:// and ends without a slash, "
                f"not {repository!r}"
            )
        files = f"{repository}/blob/v{metadata['version']}/" if repository else ""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_absolute_links(readme, files)}
        metadata["urls"] = urls(repository, files) if repository else {}


def urls(repository: str, files: str) -> dict[str, str]:
    """Return the project's URLs, by the names that indexes know."""
    return {
        "Source": repository,
        "Documentation": f"{files}README.md#more",
        "Changelog": f"{files}CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def with_absolute_links(readme: str, files: str) -> str:
    """Return the README with links that lead to the files of the release, or without these links if `files` is ""."""

    def absolute(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        if urlsplit(target).scheme:
            return link[0]
        below = files.replace("/blob/", "/raw/", 1) if mark else files
        return f"{mark}[{text}]({urljoin(f'{below}README.md', target)})" if files else text

    pieces = CODE.split(readme)
    return "".join(piece if CODE.fullmatch(piece) else LINK.sub(absolute, piece) for piece in pieces)
