"""The kit finds what it looks for: each model here is broken in one way, and fails the check that is for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.acme import AcmeModel, model_server
from voicepipe.testing.conformance import Nonconformance, Report, check_model

REPLIES, CANCELLED, CALLS = "replies", "replying is cancelled at each await", "calls a tool"


class ForgetsTheEnd(AcmeModel):
    """Does not say that its reply is whole."""

    def part(self, line: dict[str, str]) -> Any:
        return vp.TextDelta("") if "end" in line else super().part(line)


class EndsTwice(AcmeModel):
    """Says once more that its reply is whole."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        await super().reply(request, outbox, turn)
        await outbox.send(vp.ReplyEnd(finish_reason="stop"))


class SendsText(AcmeModel):
    """Sends words as they are."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        await outbox.send("Hello.")
        await super().reply(request, outbox, turn)


class SaysNothing(AcmeModel):
    """Ends before it begins."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        await outbox.send(vp.ReplyEnd(finish_reason="stop"))


class TakesACutForAnEnd(AcmeModel):
    """Passes off half a reply as whole."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        try:
            await super().reply(request, outbox, turn)
        except vp.VendorError:
            await outbox.send(vp.ReplyEnd(finish_reason="stop"))


class WaitsForEver(AcmeModel):
    """Has no deadline."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        self.http.timeout = None
        await super().reply(request, outbox, turn)


class SwallowsCancellation(AcmeModel):
    """Takes a barge-in for an end."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        try:
            await super().reply(request, outbox, turn)
        except asyncio.CancelledError:
            return


class CleansUpForLong(AcmeModel):
    """Says goodbye for two seconds."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        try:
            await super().reply(request, outbox, turn)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)


class KeepsTheReply(AcmeModel):
    """Keeps what belongs to one reply on itself."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        self.rest = b""
        async for piece in self.asked("reply"):
            self.rest += piece
        for line in self.rest.splitlines():
            await outbox.send(self.part(json.loads(line)))


class ParsesArguments(AcmeModel):
    """Takes the arguments of a call for what they are not."""

    def part(self, line: dict[str, str]) -> Any:
        return super().part(line | {"arguments": "{'order_id': 12345}"})


class ForgetsTheCall(AcmeModel):
    """Says that it called a tool, and does not."""

    def part(self, line: dict[str, str]) -> Any:
        return vp.TextDelta("") if "call" in line else super().part(line)


class AnswersOtherwise(AcmeModel):
    """Gives another answer in one piece."""

    async def complete(self, request: Any) -> vp.Completion:
        return vp.Completion(text="Something else.")


class MakesUpWords(AcmeModel):
    """Fills an empty answer."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        await outbox.send(vp.TextDelta("Well. "))
        await super().reply(request, outbox, turn)


BROKEN: list[tuple[type[AcmeModel], str]] = [
    (ForgetsTheEnd, REPLIES),
    (EndsTwice, REPLIES),
    (SendsText, REPLIES),
    (SaysNothing, REPLIES),
    (TakesACutForAnEnd, "the connection breaks"),
    (TakesACutForAnEnd, "the service falls silent"),
    (WaitsForEver, "the service falls silent"),
    (SwallowsCancellation, CANCELLED),
    (CleansUpForLong, CANCELLED),
    (KeepsTheReply, "two replies at once"),
    (ParsesArguments, CALLS),
    (ForgetsTheCall, CALLS),
    (AnswersOtherwise, "answers in one piece"),
    (MakesUpWords, "the answer is empty"),
]


def failing(make: Any, only: str) -> Report:
    """Return the report of a model that fails."""
    try:
        report = check_model(make, server=model_server, only=[only])
    except Nonconformance as error:
        return error.report
    return report


@pytest.mark.slow
def test_a_model_that_is_broken_is_found() -> None:
    """Each of these models fails the check that is for it, and the correct one none at all."""
    missed = [f"{model.__name__}: {name}" for model, name in BROKEN if name not in failing(model, name).failed]
    assert missed == []
    report = check_model(AcmeModel, server=model_server)
    assert report.not_applicable == ("answers in one piece", "bad options are refused")
