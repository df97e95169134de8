"""What is answered to Twilio's webhooks: TwiML, instructions for a call in XML.

Rule 1: a tree is built and then written, so that no value can become an instruction.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ask_again", "busy", "connect", "dial", "hang_up"]

NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may have, not even escaped."""

NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}")
SIP: Final = re.compile(r"sips?:[^\s<>\"]{1,255}")


def connect(url: str, after: str, parameters: Mapping[str, str]) -> str:
    """Connect the call to a stream, and ask again when the stream has ended.

    Args:
        url: The websocket, wss://, without a query.
        after: Where to ask what to do next.
        parameters: What the stream's first message brings along.
    """
    response = ET.Element("Response")
    stream = ET.SubElement(ET.SubElement(response, "Connect"), "Stream", url=url)
    for name, value in parameters.items():
        ET.SubElement(stream, "Parameter", name=name, value=value)
    ET.SubElement(response, "Redirect", method="POST").text = after
    return _written(response)


def dial(to: str) -> str:
    """Connect the caller to a telephone number or a SIP address.

    Raises:
        ConfigurationError: `to` is neither.
    """
    response = ET.Element("Response")
    if SIP.fullmatch(to):
        ET.SubElement(ET.SubElement(response, "Dial"), "Sip").text = to
    elif NUMBER.fullmatch(to):
        ET.SubElement(response, "Dial").text = to
    else:
        raise ConfigurationError('a call is transferred to a number such as "+15550100", or to "sip:desk@pbx.example"')
    return _written(response)


def hang_up() -> str:
    """End the call."""
    response = ET.Element("Response")
    ET.SubElement(response, "Hangup")
    return _written(response)


def ask_again(after: str, within_s: int) -> str:
    """Let the caller wait in silence, and ask again.

    Args:
        after: Where to ask.
        within_s: In how many seconds.
    """
    response = ET.Element("Response")
    ET.SubElement(response, "Pause", length=str(within_s))
    ET.SubElement(response, "Redirect", method="POST").text = after
    return _written(response)


def busy() -> str:
    """Let the caller hear that the line is busy; a call that has been answered ends."""
    response = ET.Element("Response")
    ET.SubElement(response, "Reject", reason="busy")
    return _written(response)


def _written(response: ET.Element) -> str:
    text = ET.tostring(response, encoding="unicode")
    if NOT_IN_XML.search(text):
        raise ConfigurationError("TwiML: a value has a character that no XML document may have")
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'
