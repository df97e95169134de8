"""One call with AssemblyAI's recogniser, as `HearingLine` needs it.

Rule 1: pure, see `HearingProtocol`.
Rule 2: a connection counts from `Begin` on: the handshake accepts any credentials, and the refusal comes after it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from voicepipe.vendors.assemblyai.key import VENDOR
from voicepipe.vendors.assemblyai.parameters import CHANGEABLE, URL_CHARACTERS, is_word_by_word, query, sent_name
from voicepipe.vendors.assemblyai.stt_messages import MessageReader
from voicepipe.vendors.assemblyai.stt_protocol import TurnReader
from voicepipe.vendors.assemblyai.stt_refusals import refusal
from voicepipe.vendors.line.hearing_protocol import HearingProtocol, HearingSession, Reading
from voicepipe.vendors.line.hearing_watch import HearingWatch, Sign
from voicepipe.vendors.line.json_values import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assemblyai.streaming.v3 import EventMessage
    from pydantic import JsonValue

    from voicepipe.errors import VendorError
    from voicepipe.flow import Hearing
    from voicepipe.vendors.assemblyai.parameters import StreamingParameters

__all__ = ["AssemblyAIHearing", "update_message"]

TERMINATE: Final = '{"type":"Terminate"}'

FORCE_ENDPOINT: Final = '{"type":"ForceEndpoint"}'

PIECE_S: Final = 0.05
"""The service recommends this length, and refuses shorter pieces."""

RENEW_S: Final = 3 * 3600.0 - 900.0
"""From this age on, 15 minutes before the service ends a session, it is renewed when nobody speaks, ..."""

RENEW_ANYHOW_S: Final = 3 * 3600.0 - 60.0
"""... and from this age on even while somebody speaks."""

SIGNS: Final = {"Begin": Sign.BEGUN, "Turn": Sign.WORDS, "Silence": Sign.SILENCE, "Termination": Sign.ENDED}


def update_message(changes: Mapping[str, JsonValue]) -> str:
    """Return the message that changes settings in mid-session."""
    return json.dumps({"type": "UpdateConfiguration", **changes})


class AssemblyAIHearing(HearingProtocol["EventMessage"]):
    """One call.

    Args:
        model: The model's name.
        parameters: The settings; they may be replaced at any time.
    """

    vendor = VENDOR
    piece_s = PIECE_S
    closing = TERMINATE
    renew_s = RENEW_S
    renew_anyhow_s = RENEW_ANYHOW_S

    def __init__(self, model: str, parameters: StreamingParameters) -> None:
        self.model = model
        self.parameters = parameters
        self.sample_rate = parameters.sample_rate
        self._reader = TurnReader(waits_for_format=parameters.format_turns is True and is_word_by_word(model))
        self.turns = self._reader
        self.watch = HearingWatch(
            acknowledges=self.asked().get("acknowledge_silence") is True, sends_partials=parameters.sends_partials
        )

    def asked(self) -> dict[str, JsonValue]:
        """Return the present settings, by the service's names."""
        return self.parameters.on_the_wire(self.model)

    def dial(self) -> AssemblyAISession:
        """See `HearingProtocol.dial`."""
        return AssemblyAISession(self)

    def receive(self, message: EventMessage | None, now: float) -> Sequence[Hearing]:
        """See `HearingProtocol.receive`."""
        return self._reader.receive(message, now)

    def flush(self, now: float) -> Sequence[Hearing]:
        """See `HearingProtocol.flush`."""
        del now
        return self._reader.flush()

    def force_endpoint(self, now: float) -> str:
        """See `HearingProtocol.force_endpoint`."""
        del now
        return FORCE_ENDPOINT

    def refusal(self, code: int | None, said: str) -> VendorError:
        """See `HearingProtocol.refusal`."""
        return refusal(code, said)


class AssemblyAISession(HearingSession["EventMessage"]):
    """One connection. What is too long for its URL, and the agent's last words, are left to be sent as a change.

    Args:
        call: The call.
    """

    def __init__(self, call: AssemblyAIHearing) -> None:
        super().__init__(call.sample_rate)
        self._call = call
        self._messages = MessageReader()
        self._is_up_to_date = False
        asked: dict[str, JsonValue] = {"speech_model": call.model, **call.asked()}
        known = {name: value for name, value in asked.items() if name != "agent_context"}
        if len(urlencode(query(known))) > URL_CHARACTERS:
            known = {name: value for name, value in known.items() if name not in ("prompt", "keyterms_prompt")}
        self._known = known  # what the service has received
        self.query = urlencode(query(known))

    def read(self, raw: bytes) -> Reading[EventMessage]:
        """See `HearingSession.read`."""
        message = self._messages.read(raw)
        if message is None:
            return Reading(Sign.OTHER)
        if message.type == "Error":
            code = message.error_code if number(message.error_code) is not None else None
            return Reading(Sign.REFUSED, code=code, said=message.error)
        if message.type == "Begin" and not self.has_begun:
            self.has_begun, self.name = True, message.id
        return Reading(SIGNS.get(message.type, Sign.OTHER), message)

    def refresh(self) -> None:
        """See `HearingSession.refresh`."""
        self._is_up_to_date = False

    def update(self, now: float) -> str | None:
        """See `HearingSession.update`."""
        del now
        if self._is_up_to_date:
            return None
        self._is_up_to_date = True
        asked = self._call.asked()
        names = [name for name in map(sent_name, CHANGEABLE) if name in asked]
        changes = {name: asked[name] for name in names if self._known.get(name) != asked[name]}
        self._known |= changes
        return update_message(changes) if changes else None
