"""What Whisper needs around it, without a model: what was said, who is read first, and where a model is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.hearing.plausible import Heard, plausible
from voicepipe.vendors.whisper.model import folder_of
from voicepipe.vendors.whisper.queue import ReadingQueue

pytestmark = pytest.mark.anyio


def test_plausible() -> None:
    """Words count if the model believes in speech, and somebody can have said them in the time that was spoken."""
    table = [
        ("Thank you.", 0.1, -0.5, 0.6, True),
        ("Thank you.", 0.93, -0.9, 0.6, False),  # music
        ("Yes.", 0.49, -1.4, 0.1, True),
        ("Yes.", 0.5, -0.1, 0.1, False),
        ("I'm...", 0.31, -1.8, 0.5, False),  # breath
        ("Hum.", 0.29, -1.8, 0.5, True),
        ("I'm gonna go to the end of the", 0.2, -0.5, 0.2, False),  # a click cannot be a sentence
        ("Thank you.", 0.2, -0.8, 5.0, False),  # nor a minute of music one of two words
        ("It is seven.", 0.2, -0.8, 4.0, True),
        ("...", 0.1, 0.0, 1.0, False),
        ("", 0.1, 0.0, 1.0, False),
        ("Ja, natürlich.", 0.1, -0.5, 0.5, True),
        ("一二三", 0.1, -0.5, 0.5, True),
    ]
    for text, no_speech, sure, speech_s, is_said in table:
        assert plausible(Heard(text, no_speech, sure), speech_s) == (text if is_said else ""), (text, no_speech)


def test_repeats() -> None:
    """A text that goes round in circles is noticed; words that are said twice are not."""
    table = {
        "4th. 4th. 4th. 4": True,
        "All circuits are busy now. " * 4: True,
        "Be be be be be be be be": True,
        "No, no.": False,
        "Seven, seven, nine, one.": False,
        "Press 1 to call this number, press 2 to hang up.": False,
    }
    assert {text: Heard(text, 0.0).repeats for text in table} == table


class Worker:
    """Stands in for the thread on virtual time: each function takes a second."""

    async def run(self, function: Callable[[], str]) -> str:
        await anyio.sleep(1.0)
        return function()


async def test_queue() -> None:
    """Ends of turns go first, others in order; one that is not wanted any more makes room, also while it is read."""
    queue = ReadingQueue(Worker())  # type: ignore[arg-type]
    read: list[tuple[float, str]] = []

    async def wants(name: str, *, is_early: bool, gives_up_s: float = 99.0) -> None:
        with anyio.move_on_after(gives_up_s):
            await queue.run(lambda: name, is_early=is_early)
            read.append((anyio.current_time(), name))

    async with anyio.create_task_group() as tasks:
        for name, is_early, gives_up_s in [
            ("early a", True, 99.0),
            ("early b", True, 99.0),
            ("final c", False, 99.0),
            ("final d", False, 1.5),  # while it is waiting
            ("final e", False, 2.5),  # while it is read
            ("final f", False, 99.0),
        ]:
            tasks.start_soon(partial(wants, name, is_early=is_early, gives_up_s=gives_up_s))
    assert read == [(1.0, "early a"), (2.0, "final c"), (3.5, "final f"), (4.5, "early b")]


async def test_queue_after_an_error() -> None:
    """An error of one reading is raised where it was asked for, and the next one is read."""
    queue = ReadingQueue(Worker())  # type: ignore[arg-type]

    def fails() -> str:
        raise ValueError("broken")

    async def fail() -> None:
        with pytest.raises(ValueError, match="broken"):
            await queue.run(fails, is_early=False)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        await anyio.lowlevel.checkpoint()
        assert await queue.run(lambda: "read", is_early=False) == "read"
    assert anyio.current_time() == 2.0


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is a folder, or in an installed package; what is not is refused in one sentence that says what to do."""
    package, folder = tmp_path / "some_models", tmp_path / "some_models" / "data" / "tiny"
    folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name, lacking in [("model.bin", "no model.bin and no tokenizer.json"), ("tokenizer.json", "no tokenizer.json")]:
        with pytest.raises(vp.ConfigurationError, match=f"is not a Whisper model for CTranslate2: it has {lacking}"):
            folder_of("Ear", "some-models")
        (folder / name).touch()
    assert folder_of("Ear", "some-models") == folder_of("Ear", folder) == folder
    for unknown in ("tiny.en", "/nowhere", "no-such-models", ""):
        with pytest.raises(vp.ConfigurationError, match=r"neither a folder nor an installed package|is not a Whisper"):
            folder_of("Ear", unknown)
    sys.modules.pop("some_models", None)


def test_settings() -> None:
    """Settings that cannot work are refused when the recogniser is made."""
    table: dict[str, dict[str, Any]] = {
        "threads must be at least 1": {"threads": 0},
        "key_terms must be a list": {"key_terms": "Flat white"},
        "silence_s must be at least 0.2": {"silence_s": 0.1},
    }
    for message, settings in table.items():
        with pytest.raises(vp.ConfigurationError, match=f"WhisperRecogniser: {message}|^{message}"):
            vp.WhisperRecogniser(**settings)
