"""How the kit reports, and where it can be called."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.acme import AcmeTTS, voice_server
from voicepipe.errors import ConfigurationError
from voicepipe.testing import ScriptedVoice
from voicepipe.testing.conformance import (
    Behaviour,
    Check,
    Nonconformance,
    Report,
    check_model,
    check_output,
    check_recogniser,
    check_source,
    check_store,
    check_voice,
)

ONE = "two sentences at once"


class Mute(vp.TTSSink):
    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[bytes]:
        yield b""


def test_a_report_is_a_table() -> None:
    """A report prints a line for each check, with what was found; a check is looked up by its name."""
    report = Report("AcmeTTS", (Check("one", "passed", "as it should"), Check("another", "failed", "a reason")))
    assert str(report).splitlines() == [
        "AcmeTTS: 1 checks passed, 1 failed, 0 not applicable",
        "  one      passed          as it should",
        "  another  failed          a reason",
    ]
    assert report["another"].detail == "a reason"
    with pytest.raises(KeyError, match="there is no check 'third', only one, another"):
        report["third"]


def test_a_failure_is_one_readable_message() -> None:
    """What failed is named with what was expected, found and to do; what then says nothing is not applicable."""
    with pytest.raises(Nonconformance) as raised:
        check_voice(Mute)
    assert str(raised.value).splitlines() == [
        f"Mute fails 1 of {len(raised.value.report.checks)} checks:",
        "  speaks a sentence:",
        "    expected audio for 'Hello there.', found none; the session would report a VendorError",
    ]
    assert raised.value.report.failed == ("speaks a sentence",)
    assert raised.value.report[ONE].detail == ("the check 'speaks a sentence' failed, so this one would say nothing")


def test_a_part_of_another_kind_is_refused() -> None:
    """Each check says which kind of part it is for."""
    found: dict[str, str] = {}
    for kind, check in CHECKS.items():
        with pytest.raises(Nonconformance) as raised:
            check(object)
        found[kind] = raised.value.report.checks[0].detail.partition(",")[0]
    assert found == {
        "voice": "expected a TTSSink",
        "recogniser": "expected a Recogniser",
        "model": "expected a Model",
        "source": "expected a Source",
        "output": "expected an Output",
        "store": "expected a Store",
    }


CHECKS: dict[str, Any] = {
    "voice": check_voice,
    "recogniser": check_recogniser,
    "model": check_model,
    "source": check_source,
    "output": check_output,
    "store": check_store,
}


def test_some_checks_can_be_left_out() -> None:
    """`only` makes some of the checks, and the first one, without which they would say nothing."""
    made = [check.name for check in check_voice(ScriptedVoice, only=[ONE]).checks]
    assert made[:2] == ["speaks a sentence", ONE]
    assert "a second call" not in made
    with pytest.raises(ConfigurationError, match="only: there is no check two calls; the checks are "):
        check_voice(ScriptedVoice, only=["two calls"])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "virtual"], indirect=True)
async def test_it_works_in_an_async_test() -> None:
    """Within a running loop, in real or virtual time, the kit has loops of its own."""
    assert ONE in check_voice(ScriptedVoice, only=[ONE]).passed


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Return real time, or the virtual time of all other tests."""
    from voicepipe.testing import VIRTUAL_TIME

    return VIRTUAL_TIME if request.param == "virtual" else "asyncio"


def test_a_key_that_was_never_sent_proves_nothing() -> None:
    """The search for keys is not applicable where the part was made with another key."""

    def unlocked(behaviour: Behaviour) -> Any:
        return voice_server(behaviour)

    report = check_voice(lambda url: AcmeTTS(url, "another key"), server=unlocked, only=[ONE])
    assert report["no key is shown"].outcome == "not applicable"
    report = check_voice(lambda url: AcmeTTS(url, "another key"), server=unlocked, only=[ONE], secrets=["another key"])
    assert report["no key is shown"].outcome == "passed"


def test_a_server_that_fails_is_reported() -> None:
    """What a server raises fails the check, and says that it was the server."""

    @asynccontextmanager
    async def broken(url: str) -> AsyncGenerator[str]:
        yield url
        raise RuntimeError("the simulator is wrong")

    def server(_: Behaviour) -> Any:
        return broken("http://127.0.0.1:1")

    with pytest.raises(Nonconformance) as raised:
        check_voice(AcmeTTS, server=server)
    assert raised.value.report.failed == ("speaks a sentence",)

    @asynccontextmanager
    async def absent() -> AsyncGenerator[str]:
        raise OSError("no port is free")
        yield ""

    with pytest.raises(Nonconformance, match="expected no error of the server, found OSError: no port is free"):
        check_voice(AcmeTTS, server=lambda _: absent())
