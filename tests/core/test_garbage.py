"""The garbage collector passes over what was there before the calls."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

import voicepipe as vp
from voicepipe.core.garbage import frozen
from voicepipe.testing import Says, ScriptedModel, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _nothing_is_frozen() -> Iterator[None]:
    count = gc.get_freeze_count()
    assert count == 0
    yield
    gc.unfreeze()


def agent() -> vp.Pipeline:
    return vp.Pipeline(ScriptedModel(lambda _: Says("Hello.")), vp.SentenceChunker(), ScriptedVoice())


def test_objects_are_frozen_until_the_last_block_ends() -> None:
    """Two hosts of a process overlap in any order."""
    first, second = frozen(), frozen()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_freeze_count() > 0
    second.__exit__(None, None, None)
    assert gc.get_freeze_count() == 0


def test_what_the_application_froze_stays_frozen() -> None:
    """An application that freezes its objects itself decides when they are unfrozen."""
    gc.freeze()
    before = gc.get_freeze_count()
    with frozen():
        pass
    assert gc.get_freeze_count() >= before - 10  # a few of them may have been freed


@pytest.mark.anyio
async def test_a_host_freezes_what_was_there_before_its_calls() -> None:
    """Frozen while the host is open; not if the application wants to do without."""
    async with agent().open():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    async with agent().open(freeze_gc=False):
        assert gc.get_freeze_count() == 0
