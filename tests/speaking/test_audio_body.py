"""What the body of a voice's response holds, without a network."""

from __future__ import annotations

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import VendorError
from voicepipe.speaking.audio_body import AudioBody

PCM = bytes(range(1, 201))


def wav(pcm: bytes = PCM, *, rate: int = 24_000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(width)
        written.setframerate(rate)
        written.writeframes(pcm)
    return file.getvalue()


def body(*pieces: bytes, sample_rate: int = 24_000, media_type: str = "") -> bytes:
    found = AudioBody("api.example.com", sample_rate, media_type)
    return b"".join(map(found.feed, pieces)) + found.rest()


def fmt(code: int, *, extensible: int | None = None) -> bytes:
    """A format of 16-bit mono samples."""
    fields = wav()[20:36]
    if extensible is None:
        return b"fmt \x10\0\0\0" + code.to_bytes(2, "little") + fields[2:]
    guid = extensible.to_bytes(2, "little") + bytes.fromhex("000000001000800000aa00389b71")
    return b"fmt \x28\0\0\0" + b"\xfe\xff" + fields[2:] + b"\x16\0\x10\0\x04\0\0\0" + guid


RIFF = b"RIFF\0\0\0\0WAVE"
LIST = b"LIST\x05\x00\x00\x00words\x00"
STREAMED = RIFF + fmt(1) + b"data\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("sent", "samples"),
    [
        pytest.param(PCM, PCM, id="raw"),
        pytest.param(b"\xff\xfb\x00\x00" * 3, b"\xff\xfb\x00\x00" * 3, id="raw that looks like MP3"),
        pytest.param(b"\xff\xfb\x90\x00" + PCM * 9, b"\xff\xfb\x90\x00" + PCM * 9, id="raw with one frame of MP3"),
        pytest.param(b"\x01\x02\x03", b"\x01\x02\x03", id="shorter than a header"),
        pytest.param(b"", b"", id="nothing"),
        pytest.param(wav(), PCM, id="WAV"),
        pytest.param(RIFF + fmt(0xFFFE) + b"data\xc8\0\0\0" + PCM, PCM, id="extensible WAV, short"),
        pytest.param(RIFF + fmt(1, extensible=1) + b"data\xc8\0\0\0" + PCM, PCM, id="extensible WAV"),
        pytest.param(RIFF + fmt(1) + LIST + b"data\xff\xff\xff\xff" + PCM, PCM, id="WAV without sizes"),
        pytest.param(RIFF + fmt(1) + b"data\0\0\0\0" + PCM, PCM, id="WAV with sizes of 0"),
        pytest.param(RIFF + fmt(1) + b"data\xdb\xff\xff\x7f" + PCM, PCM, id="WAV with a size nobody sends"),
        pytest.param(wav() + LIST, PCM, id="WAV with something behind"),
        pytest.param(wav() + b"????" + bytes(90), PCM, id="WAV with rubbish behind"),
        pytest.param(wav() + wav(), PCM * 2, id="two WAV files"),
        pytest.param(wav() + LIST + wav() + LIST, PCM * 2, id="two WAV files with something behind"),
        pytest.param((STREAMED + PCM) * 2, PCM * 2, id="two WAV files without sizes"),
        pytest.param(STREAMED + b"RIFF" + PCM + b"RI", b"RIFF" + PCM + b"RI", id="samples that look like a header"),
    ],
)
def test_a_body_is_its_samples(sent: bytes, samples: bytes) -> None:
    """Raw samples stay as they are, and WAV files lose their headers, however the body is cut."""
    assert body(sent) == samples
    assert body(*[bytes([byte]) for byte in sent]) == samples


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=3), st.lists(st.integers(1, 60), max_size=20))
def test_no_cut_changes_the_samples(recordings: list[bytes], sizes: list[int]) -> None:
    """The samples of WAV files are the same wherever they are cut into pieces."""
    pcms, pieces = [pcm[: len(pcm) & ~1] or b"\0\0" for pcm in recordings], []
    sent = LIST.join(wav(pcm) for pcm in pcms)
    for size in sizes:
        pieces.append(sent[:size])
        sent = sent[size:]
    assert body(*pieces, sent) == b"".join(pcms)


MP3 = (b"\xff\xfb\x90\x00" + bytes(413)) * 2
MP3_2 = (b"\xff\xf3\x84\xc4" + bytes(188)) * 2
AAC = (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)) * 2


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (wav(PCM * 2, channels=2), "a WAV file of 2 channels with 16 bits"),
        (wav(width=1), "1 channels with 8 bits"),
        (wav(PCM + PCM[:100], width=3), "1 channels with 24 bits"),
        (RIFF + fmt(7) + b"data", "a WAV file of mu-law"),
        (RIFF + fmt(6) + b"data", "a WAV file of A-law"),
        (RIFF + fmt(1, extensible=3) + b"data", "a WAV file of float"),
        (RIFF + b"data\x02\0\0\0\0\0", "a WAV file without a format"),
        (RIFF + b"fmt \x02\0\0\0\x01\0", "a WAV file with a broken format"),
        (b"RIFF\0\0\0\0AVI LIST", "RIFF of the kind"),
        (wav()[:30], "a WAV file that ends in its header"),
        (RIFF + fmt(1) + b"LIST\xff\xff\x00\x00", "a WAV file without samples"),
        (wav(rate=24_000)[:24] + b"\0\0\0\0" + wav()[28:], "audio of 0 samples a second"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "RF64"),
        (b"RIFX\0\0\0\0WAVEfmt ", "RIFX"),
        (b"FORM\0\0\0\0AIFFCOMM", "AIFF"),
        (b"\0\0\0\x1cftypM4A \0\0", "MP4"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81", "WebM"),
        (b"OggS\0\x02\0\0\0\0\0\0", "Ogg"),
        (b"fLaC\0\0\0\x22\x10\0\x10\0", "FLAC"),
        (b".snd\0\0\0\x18\0\0\0\0", "Sun audio"),
        (b"ID3\x04" + bytes(20), "MP3"),
        (MP3, "MP3"),
        (MP3_2, "MP3"),
        (AAC, "AAC"),
        (b"<!DOCTYPE html><html>", "a page"),
        (b"\n<html lang=en><body>", "a page"),
        (b'{"error": "no such voice"}', "JSON"),
        (b"data: {}\n\ndata: {}", "events"),
    ],
)
def test_another_format_is_refused_by_name(sent: bytes, said: str) -> None:
    """What would be noise is refused with what it is and what to change, however it is cut and whatever its label."""
    for pieces in ([sent], [bytes([byte]) for byte in sent]):
        with pytest.raises(VendorError, match=said) as raised:
            body(*pieces, media_type="audio/pcm")
        assert not raised.value.retryable


@pytest.mark.parametrize(
    ("media_type", "said"),
    [
        ("audio/aac", "AAC"),
        ("audio/mp4; codecs=mp4a.40.2", "MP4"),
        ("audio/webm;codecs=opus", "WebM"),
        ("Audio/AIFF", "AIFF"),
        ("audio/basic", "mu-law"),
        ("audio/PCMU;rate=8000", "mu-law"),
        ("audio/PCMA", "A-law"),
        ("audio/opus", "Opus"),
        ("audio/L24;rate=24000", "24-bit samples"),
        ("audio/L16;rate=24000;channels=2", "2 channels"),
        ("audio/pcm;bits=32", "32-bit samples"),
        ("audio/pcm;encoding=float", "float samples"),
        ("audio/x-raw;format=F32LE", "f32le samples"),
        ("audio/L16;endianness=big-endian", "big-endian samples"),
        ("audio/L16;rate=0", "audio of 0 samples a second"),
        ("audio/L16;rate=fast", "audio of 0 samples a second"),
    ],
)
def test_what_the_head_says_is_read(media_type: str, said: str) -> None:
    """A format, a rate or a number of channels that cannot be played is refused before the first byte."""
    with pytest.raises(VendorError, match=f"answered {said} instead of 16-bit mono samples"):
        AudioBody("api.example.com", 24_000, media_type)


@pytest.mark.parametrize(
    "media_type",
    ["", "audio/pcm", "audio/L16;rate=24000;channels=1", "audio/wav", "audio/mpeg", "application/octet-stream", "x"],
)
def test_a_head_that_says_nothing_else_is_believed(media_type: str) -> None:
    """Raw samples and WAV files are read under each usual label, and under a wrong one."""
    assert body(PCM, media_type=media_type) == body(wav(), media_type=media_type) == PCM


def test_under_its_label_the_first_frame_is_enough() -> None:
    """What is called MP3 and begins like it is refused at its first bytes."""
    for frame, name in ((MP3[:8], "MP3"), (AAC[:8], "AAC")):
        with pytest.raises(VendorError, match=name):
            AudioBody("v", 24_000, "audio/mpeg").feed(frame)


@pytest.mark.parametrize("sent", [bytes(2 * 16_000), wav(bytes(2 * 16_000), rate=16_000)], ids=["raw", "WAV"])
def test_another_rate_is_resampled(sent: bytes) -> None:
    """A second at the rate that the head or the header names is a second at the rate of the part."""
    media_type = "" if sent.startswith(b"RIFF") else "audio/L16; rate=16000"
    assert len(body(sent, media_type=media_type)) == 2 * 24_000
    assert len(body(*[sent[at : at + 999] for at in range(0, len(sent), 999)], media_type=media_type)) == 2 * 24_000


def test_without_a_resampler_another_rate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without soxr the error says which setting fits the audio."""
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    with pytest.raises(VendorError, match="sends 22050 samples a second instead of 24000; set sample_rate=22050"):
        body(wav(rate=22_050))


@pytest.mark.parametrize("sent", [wav()[:-1], wav()[:-199], wav()[:44], wav() + wav()[:-2]], ids=len)
def test_less_than_promised_is_cut(sent: bytes) -> None:
    """A header that promises more audio than comes makes a cut reply, also in a second file."""
    found = AudioBody("api.example.com", 24_000)
    found.feed(sent)
    with pytest.raises(VendorError, match=r"of 200 bytes of audio: it was cut") as raised:
        found.rest()
    assert raised.value.retryable
