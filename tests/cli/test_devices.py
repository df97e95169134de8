"""What `voicepipe devices` prints of what it has measured."""

from __future__ import annotations

import json

import pytest

from voicepipe.cli.devices import _report


@pytest.mark.parametrize(
    ("trips", "status", "said", "measured"),
    [
        ([0.1, 0.12, None, 0.11, 0.1], 0, "round trip 105 ms (median of 4; 100 to 120)\n", [5, 4, 0.105, 0.1, 0.12]),
        (
            [0.3] * 5,
            0,
            "round trip 300 ms (median of 5; 300 to 300)\nthat is more than the 250 ms",
            [5, 5, 0.3, 0.3, 0.3],
        ),
        ([0.1, None, None, None, 0.1], 1, "recorded 2 of 5 chirps: turn the loudspeaker", [5, 2]),
    ],
)
def test_the_round_trip_is_reported(
    trips: list[float | None], status: int, said: str, measured: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The median counts if most chirps were found; JSON has the same in seconds, and no times without them."""
    assert _report(trips, as_json=False) == status
    assert capsys.readouterr().out.startswith(said)
    assert _report(trips, as_json=True) == status
    printed = json.loads(capsys.readouterr().out)
    assert list(printed.values()) == pytest.approx(measured)
    assert list(printed) == ["played", "recorded", "median_s", "least_s", "most_s"][: len(measured)]
