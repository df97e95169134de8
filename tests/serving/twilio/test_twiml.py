"""What is answered to webhooks, compared with what the vendor's own library builds."""

from __future__ import annotations

import os
from importlib.util import find_spec
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.serving.twilio.twiml import ask_again, busy, connect, dial, hang_up

needs_twilio = pytest.mark.skipif(
    find_spec("twilio") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason="not installed: twilio"
)


def same(ours: str, theirs: object) -> bool:
    return ET.canonicalize(ours) == ET.canonicalize(str(theirs))


@needs_twilio
def test_the_vendors_library_builds_the_same() -> None:
    """Each answer is, as XML, what Twilio's builder makes of the same verbs."""
    from twilio.twiml.voice_response import Connect, Dial, VoiceResponse

    theirs = VoiceResponse()
    stream = Connect()
    stream.stream(url="wss://voice.example.com/twilio").parameter(name="token", value='a"<&b')
    theirs.append(stream)
    theirs.redirect("https://voice.example.com/twilio/after", method="POST")
    ours = connect("wss://voice.example.com/twilio", "https://voice.example.com/twilio/after", {"token": 'a"<&b'})
    assert same(ours, theirs)

    theirs = VoiceResponse()
    theirs.dial("+15550100")
    assert same(dial("+15550100"), theirs)
    theirs = VoiceResponse()
    to_sip = Dial()
    to_sip.sip("sip:desk@pbx.example")
    theirs.append(to_sip)
    assert same(dial("sip:desk@pbx.example"), theirs)
    theirs = VoiceResponse()
    theirs.hangup()
    assert same(hang_up(), theirs)
    theirs = VoiceResponse()
    theirs.reject(reason="busy")
    assert same(busy(), theirs)
    theirs = VoiceResponse()
    theirs.pause(length=1)
    theirs.redirect("https://voice.example.com/twilio/after", method="POST")
    assert same(ask_again("https://voice.example.com/twilio/after", 1), theirs)


@pytest.mark.parametrize("to", ["", "reception", "+1 555", "</Dial><Say>", "sip:a b@c", "+1\r\n", "sip:" + "a" * 300])
def test_a_transfer_leads_to_a_number_or_an_address(to: str) -> None:
    """Anything else is refused, and the message does not repeat it."""
    with pytest.raises(vp.ConfigurationError, match="a call is transferred to a number") as refused:
        dial(to)
    assert not to or to not in str(refused.value)


@given(st.text())
def test_no_value_becomes_an_instruction(value: str) -> None:
    """A parameter stays one parameter, whatever is in it; what XML cannot have is refused."""
    try:
        written = connect("wss://a.example", "https://a.example/after", {"name": value})
    except vp.ConfigurationError:
        return
    (parameter,) = ET.fromstring(written.encode()).iter("Parameter")
    assert parameter.attrib == {"name": "name", "value": value}
    assert [element.tag for element in ET.fromstring(written.encode()).iter()] == [
        *("Response", "Connect", "Stream", "Parameter", "Redirect"),
    ]
