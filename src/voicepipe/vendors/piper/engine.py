"""Piper's models: one per voice and process, however many calls speak with it.

Rule 1: a model is loaded by the first host that opens a voice, and given up with the last one.
Rule 2: one thread speaks for all calls, a chunk of a sentence at a time, and takes the calls in turn.
"""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from voicepipe.core.threads import run_in_daemon_thread
from voicepipe.vendors.piper.fair_worker import FairWorker
from voicepipe.vendors.piper.model import loaded

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Hashable
    from pathlib import Path

    from voicepipe.vendors.piper.model import Manner, Model, Spoken
    from voicepipe.vendors.piper.voice_file import VoiceFile

__all__ = ["Engine", "engine_of"]

_engines: dict[Path, Engine] = {}
_registry = threading.Lock()


@asynccontextmanager
async def engine_of(voice: VoiceFile) -> AsyncGenerator[Engine]:
    """Provide the process's engine for a voice; the first time, that takes half a second on a thread.

    Raises:
        MissingExtra: Piper is not installed.
        ConfigurationError: The file is not a Piper voice.
    """
    path = voice.model.resolve()
    with _registry:
        engine = _engines.setdefault(path, Engine(voice))
        engine.users += 1
    try:
        await run_in_daemon_thread(engine.load, name="voicepipe-piper-load", warns=False)
        engine.start()
        yield engine
    finally:
        with _registry:
            engine.users -= 1
            is_last = engine.users == 0
            if is_last:
                del _engines[path]
        if is_last:
            await engine.aclose()


class Engine:
    """A voice that speaks for all calls; made by `engine_of`.

    Args:
        voice: The voice.

    Attributes:
        users: How many hosts and calls have it open.
    """

    def __init__(self, voice: VoiceFile) -> None:
        self.users = 0
        self._voice = voice
        self._loading = threading.Lock()
        self._model: Model | None = None
        self._worker: FairWorker | None = None

    def load(self) -> None:
        """Load the model, unless it is loaded. Blocks.

        Raises:
            MissingExtra: Piper is not installed.
            ConfigurationError: The file is not a Piper voice.
        """
        with self._loading:
            if self._model is None:
                self._model = loaded(self._voice)

    def start(self) -> None:
        """Start the thread, unless it runs. Not done by `load`, whose own thread may end after all hosts have."""
        with _registry:
            if self._worker is None:
                self._worker = FairWorker(f"voicepipe-piper-{self._voice.name}")

    def speak(self, call: Hashable, text: str, manner: Manner) -> concurrent.futures.Future[Spoken]:
        """Queue a text of a call. Cancelling the future drops a text that has not begun; a begun one is finished.

        The future raises VendorError if the model fails.
        """
        model, worker = self._model, self._worker
        assert model is not None  # noqa: S101 - `engine_of` has loaded it
        assert worker is not None  # noqa: S101 - as above
        return worker.submit(call, lambda: model.speak(text, manner))

    async def aclose(self) -> None:
        """End the thread."""
        if self._worker is not None:
            await self._worker.aclose()
