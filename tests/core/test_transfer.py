"""The result of a session that hands its caller over."""

from __future__ import annotations

import pytest

import voicepipe as vp


@pytest.mark.parametrize("to", ["", "+1 555", "+1555\r\nX: y"])
def test_a_number_that_cannot_be_dialled_is_refused(to: str) -> None:
    """What goes into the messages of a telephone network is checked where the application says it."""
    with pytest.raises(vp.ConfigurationError, match=r'Transfer needs a number or an address, e.g. "\+15550100", not'):
        vp.Transfer(to)
    assert vp.Transfer("sip:desk@example.com").to == "sip:desk@example.com"
