"""What is published: the files of the repository, of the source distribution and of the wheel, and what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt
from packaging.metadata import Metadata

from hatch_build import IndexPage

ROOT = Path(__file__).parents[2]
MAX_FILE_BYTES = 200_000
ADDRESS = "https://forge.invalid/someone/voicepipe"

needs_checkout = pytest.mark.skipif(
    not (ROOT / ".git").exists() and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason="not a git checkout, so nothing says which files belong to the project",
)


def listed(*options: str) -> set[str]:
    """Return what `git ls-files` lists, without files that are deleted and not yet committed."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *options]
    names = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


def build(source: Path, target: str, directory: Path) -> Path:
    """Build a distribution, "sdist" or "wheel", from a source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory)]
    subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60, check=True)
    (built,) = directory.glob("*.tar.gz" if target == "sdist" else "*.whl")
    return built


def unpacked(sdist: Path, directory: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    (tree,) = directory.iterdir()
    return tree


def files_in(tree: Path) -> set[str]:
    return {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    return unpacked(build(ROOT, "sdist", tmp_path_factory.mktemp("sdist")), tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel, built from the source distribution alone."""
    return zipfile.Path(build(source, "wheel", tmp_path_factory.mktemp("wheel")))


@needs_checkout
def test_no_file_is_big() -> None:
    """No file under version control is bigger than 200 kB."""
    assert {name: size for name in listed() if (size := (ROOT / name).stat().st_size) > MAX_FILE_BYTES} == {}


@needs_checkout
def test_nothing_ignored_is_tracked() -> None:
    """What .gitignore names, e.g. wheels, logs and caches, is not under version control."""
    assert listed("--cached", "--ignored", "--exclude-standard") == set()


@needs_checkout
@pytest.mark.slow
def test_the_source_distribution_is_whole(source: Path) -> None:
    """All files of the project are in the source distribution, but those that only the repository needs."""
    for_the_repository = {name for name in listed() if name.startswith(".")}
    assert listed() - for_the_repository - files_in(source) == set()


@needs_checkout
@pytest.mark.slow
def test_the_source_distribution_holds_nothing_else(source: Path) -> None:
    """Only files of the project are in the source distribution: nothing that git ignores, and its own PKG-INFO."""
    assert files_in(source) - listed("--cached", "--others", "--exclude-standard") == {"PKG-INFO"}


def test_what_must_be_in_the_source_distribution_is(source: Path) -> None:
    """Licence, README, changelog, sources, tests, documentation and examples are in the source distribution."""
    files = files_in(source)
    assert {"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "pyproject.toml"} <= files
    assert {"src", "tests", "docs", "examples", "benchmarks"} <= {name.partition("/")[0] for name in files}


@pytest.mark.slow
def test_litter_stays_out(source: Path, tmp_path: Path) -> None:
    """Wheels, logs, caches, and files next to the project's do not get into a source distribution."""
    tree = tmp_path / "tree"
    shutil.copytree(source, tree)
    litter = ("profiler.whl", "src/voicepipe/other.whl", "tests/run.log", "dist/old.tar.gz", "notes/plan.txt", "core.1")
    for name in (*litter, "src/voicepipe/__pycache__/errors.cpython-311.pyc", "conversation/conversation.wav"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"")
    again = unpacked(build(tree, "sdist", tmp_path / "built"), tmp_path / "again")
    assert files_in(again) == files_in(source)


@pytest.mark.slow
def test_the_wheel_is_the_package(source: Path, wheel: zipfile.Path) -> None:
    """The wheel holds the files of src/voicepipe, data and type marker among them, and its metadata."""
    names = {name for name in wheel.root.namelist() if not re.search(r"\.dist-info/|/$", name)}
    assert names == {f"voicepipe/{name}" for name in files_in(source / "src" / "voicepipe")}
    assert "voicepipe/py.typed" in names
    page = {".html", ".js", ".css", ".svg"}
    starter = {name for name in names if name.startswith("voicepipe/cli/starter/")}
    assert {Path(name).suffix for name in names - starter} == {".py", ".pyi", ".toml", ".typed", *page}
    assert "voicepipe/cli/starter/dot_github/workflows/test.yml" in starter
    assert {Path(name).parent.name for name in names if Path(name).suffix in page} == {"files"}


def test_the_wheel_has_its_entry_points(wheel: zipfile.Path) -> None:
    """The command and the plugin for pytest are installed with the wheel, and what they name is there."""
    (info,) = (path for path in wheel.iterdir() if path.name.endswith(".dist-info"))
    points = ConfigParser()
    points.read_string((info / "entry_points.txt").read_text(encoding="utf-8"))
    assert {group: dict(points[group]) for group in points.sections()} == {
        "console_scripts": {"voicepipe": "voicepipe.cli:main"},
        "pytest11": {"voicepipe": "voicepipe.pytest_plugin"},
    }
    assert all((wheel / "voicepipe" / name).exists() for name in ("cli/__init__.py", "pytest_plugin.py"))


def test_the_metadata_are_valid(source: Path, wheel: zipfile.Path) -> None:
    """An index accepts the metadata, which are the same in both distributions and state the licence."""
    (info,) = (path for path in wheel.iterdir() if path.name.endswith(".dist-info"))
    text = (source / "PKG-INFO").read_text(encoding="utf-8")
    assert (info / "METADATA").read_text(encoding="utf-8") == text
    metadata = Metadata.from_email(text, validate=True)
    assert (metadata.license_expression, metadata.license_files) == ("MIT", ["LICENSE"])
    assert (info / "licenses" / "LICENSE").read_text(encoding="utf-8") == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert metadata.description_content_type == "text/markdown"


def set_by_hook(repository: str | None) -> dict[str, object]:
    """Return what the build sets for an address of the repository, or without one."""
    metadata: dict[str, object] = {"version": "0.1.0"}
    IndexPage(str(ROOT), {} if repository is None else {"repository": repository}).update(metadata)
    return metadata


def page(repository: str | None) -> str:
    readme = set_by_hook(repository)["readme"]
    assert isinstance(readme, dict)
    return str(readme["text"])


def rendered(markdown: str) -> str:
    """Return a page as HTML, by a parser that knows nothing of the build's."""
    return str(MarkdownIt().enable("table").render(markdown))


def links(markdown: str) -> list[str]:
    return re.findall(r'<a href="([^"]*)">', rendered(markdown))


def shown(markdown: str) -> str:
    """Return what a reader sees of a page whose links are not marked, and who is read what pictures show."""
    return re.sub(r'</?a\b[^>]*>|<img [^>]*alt="([^"]*)"[^>]*>', r"\1", rendered(markdown))


@pytest.mark.parametrize("repository", [None, ADDRESS])
def test_links_work_on_an_index(repository: str | None) -> None:
    """On an index's page, links to files lead to the repository; while it has no address, they are no links."""
    relative = [link for link in links((ROOT / "README.md").read_text(encoding="utf-8")) if not urlsplit(link).scheme]
    expected = [f"{repository}/blob/v0.1.0/{f'README.md{link}' if link.startswith('#') else link}" for link in relative]
    found = links(page(repository))
    assert all(urlsplit(link).scheme == "https" for link in found)
    assert [link for link in found if link.startswith(ADDRESS)] == (expected if repository else [])


@pytest.mark.parametrize("repository", [None, ADDRESS])
def test_an_index_shows_the_readme(repository: str | None) -> None:
    """Apart from where its links lead, the page of an index is the README, code included."""
    assert shown(page(repository)) == shown((ROOT / "README.md").read_text(encoding="utf-8"))


def test_links_in_code_are_code(tmp_path: Path) -> None:
    """What looks like a link in code, and a link that is absolute already, stay as they are; a picture is found raw."""
    text = "[a](b.md)\n```python\nrows[0](x)\n```\n[c](https://example.org), [d[e]](#f) ![g](h.svg)\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    metadata: dict[str, object] = {"version": "2.0"}
    IndexPage(str(tmp_path), {"repository": ADDRESS}).update(metadata)
    files, raw = f"{ADDRESS}/blob/v2.0/", f"{ADDRESS}/raw/v2.0/"
    assert metadata["readme"] == {
        "content-type": "text/markdown",
        "text": f"[a]({files}b.md)\n```python\nrows[0](x)\n```\n"
        f"[c](https://example.org), [d[e]]({files}README.md#f) ![g]({raw}h.svg)\n",
    }


def test_the_urls_come_from_one_address() -> None:
    """Source, documentation, changelog and issues are found below the repository's address; without one, nowhere."""
    assert set_by_hook(None)["urls"] == {}
    assert set_by_hook(ADDRESS)["urls"] == {
        "Source": ADDRESS,
        "Documentation": f"{ADDRESS}/blob/v0.1.0/README.md#more",
        "Changelog": f"{ADDRESS}/blob/v0.1.0/CHANGELOG.md",
        "Issues": f"{ADDRESS}/issues",
    }
    assert re.search(r"^## More$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.slow
def test_the_address_in_pyproject_is_what_counts(source: Path, tmp_path: Path) -> None:
    """Once the address is written into pyproject.toml, the metadata name it."""
    tree = tmp_path / "tree"
    shutil.copytree(source, tree, ignore=shutil.ignore_patterns("PKG-INFO", "tests", "benchmarks"))
    settings = re.sub(
        r"(?m)^(\[tool\.hatch\.metadata\.hooks\.custom\]\n)(# )?repository = .*$",
        rf'\1repository = "{ADDRESS}"',
        (tree / "pyproject.toml").read_text(encoding="utf-8"),
    )
    (tree / "pyproject.toml").write_text(settings, encoding="utf-8")
    made = unpacked(build(tree, "sdist", tmp_path / "built"), tmp_path / "made")
    metadata = Metadata.from_email((made / "PKG-INFO").read_text(encoding="utf-8"), validate=True)
    assert metadata.project_urls is not None
    assert set(metadata.project_urls) == {"Source", "Documentation", "Changelog", "Issues"}
    assert metadata.project_urls["Source"] == ADDRESS


@pytest.mark.parametrize("repository", ["http://forge.invalid/voicepipe", "forge.invalid", "https://", f"{ADDRESS}/"])
def test_an_address_that_cannot_be_linked_is_refused(repository: str) -> None:
    """An address without https, without a host, or with a slash at its end is refused, with what to write."""
    with pytest.raises(ValueError, match="must be an address that begins with https://"):
        set_by_hook(repository)
