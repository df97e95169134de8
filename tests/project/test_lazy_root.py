"""The package imports a public name when it is used, and is otherwise like one that imports all of them at once."""

from __future__ import annotations

import ast
import copy
import pickle
import typing
from pathlib import Path

import pytest

import voicepipe as vp
from tests.project.test_import import python

ROOT = Path(vp.__file__)
STUB = ROOT.with_suffix(".pyi")

PIPELINE = "from voicepipe.session.pipeline import Pipeline; "


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    """The table in `__init__.py` and the imports in `__init__.pyi` agree, and so does `__all__`."""
    found: dict[str, str] = {}
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            found |= {alias.asname or alias.name: node.module for alias in node.names}
        else:
            assert isinstance(node, ast.Assign)
            assert ast.literal_eval(node.value) == vp.__all__
    assert found == {"audio": "voicepipe"} | {
        name: f"voicepipe.{module}" for name, module in vars(vp)["_MODULE_OF"].items()
    }


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(f"{PIPELINE}from voicepipe import Pipeline as found; assert found is Pipeline", id="from"),
        pytest.param(
            f"import voicepipe as vp; found = vp.Pipeline; {PIPELINE}assert found is Pipeline", id="attribute"
        ),
        pytest.param("import voicepipe as vp; assert vp.audio.to_ulaw(bytes(2)) == b'\\xff'", id="module"),
        pytest.param(
            "import voicepipe as vp; from voicepipe import *; assert set(vp.__all__) <= set(dir())", id="star"
        ),
        pytest.param("import voicepipe as vp; assert dir(vp) == sorted(vp.__all__)", id="dir"),
        pytest.param("import voicepipe as vp; vp.Word; assert 'Word' in vars(vp)", id="kept"),
        pytest.param("import voicepipe as vp; assert not hasattr(vp, '_no_such_name')", id="hasattr"),
    ],
)
def test_a_name_is_there_when_it_is_used(program: str) -> None:
    """Whichever way a fresh program takes to a public name, it gets what the module of that name defines."""
    ran = python(program)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.slow
def test_help_describes_every_name() -> None:
    """`help(voicepipe)` in a fresh interpreter says what the package is and describes classes and functions."""
    ran = python("import voicepipe; help(voicepipe)")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert all(text in ran.stdout for text in ("asyncio stages", "class Pipeline(", "class WordMark(", "write_wav("))


def test_a_misspelt_name_is_an_error_with_a_suggestion() -> None:
    """A name that is not there raises AttributeError, and Python proposes one that has not been imported either."""
    ran = python("import voicepipe as vp; vp.Pipelin")
    said = "AttributeError: module 'voicepipe' has no attribute 'Pipelin'. Did you mean: 'Pipeline'?"
    assert ran.stderr.splitlines()[-1] == said
    with pytest.raises(ImportError, match="cannot import name 'Pipelin' from 'voicepipe'"):
        exec("from voicepipe import Pipelin")


@pytest.mark.slow
def test_threads_may_ask_for_the_same_name_at_once() -> None:
    """Threads that use names for the first time at the same moment all get the same objects."""
    ran = python("""
import sys, threading
import voicepipe as vp
sys.setswitchinterval(1e-6)
names = ["Pipeline", "LLMStreamStage", "Turn", "tool"]
barrier, found = threading.Barrier(8), []
def ask(first):
    barrier.wait()
    found.append({name: getattr(vp, name) for name in names[first:] + names[:first]})
threads = [threading.Thread(target=ask, args=(each % 4,)) for each in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 8 and all(each == found[0] for each in found)
""")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("program", "made"),
    [
        ("vp.STTStage().recogniser", "<AssemblyAIRecogniser u3-rt-pro at wss://streaming.assemblyai.com/v3/ws>"),
        ("model_to_ask(None)", "<LLMStreamStage"),
    ],
)
@pytest.mark.slow
def test_a_default_is_there_whichever_name_is_first(program: str, made: str) -> None:
    """The default recogniser and model are made although nothing of the program names a vendor, or a pipeline."""
    ran = python(f"import voicepipe as vp; from voicepipe.model.question import model_to_ask; print({program})")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(made)


def test_values_can_be_pickled_and_copied() -> None:
    """An object of a public class is pickled by the module that defines it, as before."""
    sentence = vp.Sentence("Hello.", 1)
    assert pickle.loads(pickle.dumps(sentence)) == copy.deepcopy(sentence) == sentence
    assert pickle.loads(pickle.dumps(vp.Sentence)) is vp.Sentence


def test_type_hints_of_a_program_are_resolved() -> None:
    """`typing.get_type_hints` evaluates annotations that name public classes, as `@stage` and `@tool` do."""

    def reply(inbox: vp.Inbox[vp.Sentence], call: vp.ToolContext[None]) -> vp.Turn:
        raise AssertionError

    assert typing.get_type_hints(reply) == {
        "inbox": vp.Inbox[vp.Sentence],
        "call": vp.ToolContext[None],
        "return": vp.Turn,
    }
