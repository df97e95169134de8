"""Samples out of the body of a response that a voice sent. Pure: no network, no clock.

Rule 1: the head of the response may say the rate and the format, and the bytes have the last word on the format.
Rule 2: a stream is parsed to its end: a chunk of a WAV file that is not audio is skipped, wherever it stands, and a
        second WAV file behind the first one is read as well.
Rule 3: sizes in a header are never trusted; less audio than they promise is a cut reply.
Rule 4: what is not 16-bit mono PCM is refused by name, because it would be noise.

Source: RFC 2586 (audio/L16), the RIFF and WAVE formats as Microsoft describes them, ISO/IEC 11172-3 and 13818-7 for the
frames of MP3 and AAC, read 2026-11-29. Services send audio/L16 in little-endian order, against the RFC.
"""

from __future__ import annotations

import re
from email.message import Message
from typing import TYPE_CHECKING, Final

from voicepipe.audio.resample import Resampler
from voicepipe.errors import MissingExtra
from voicepipe.http.refusals import failure

if TYPE_CHECKING:
    from voicepipe.errors import VendorError

__all__ = ["AudioBody"]

HEADER_BYTES: Final = 4_096
"""How long the header of a WAV file may be, and how much of a body is read to know its format."""

UNKNOWN_SIZE: Final = 0x7FFF0000
"""From this size on, and for 0, the server did not know how much audio follows."""

RATES: Final = range(8_000, 192_001)

NAMES: Final = {
    **dict.fromkeys(("aac", "aacp", "x-aac"), "AAC"),
    **dict.fromkeys(("mp4", "m4a", "x-m4a", "mp4a-latm"), "MP4"),
    "webm": "WebM",
    **dict.fromkeys(("aiff", "x-aiff"), "AIFF"),
    **dict.fromkeys(("basic", "pcmu", "mulaw", "x-mulaw", "ulaw"), "mu-law"),
    **dict.fromkeys(("pcma", "alaw", "x-alaw"), "A-law"),
    **dict.fromkeys(("ogg", "vorbis"), "Ogg"),
    "opus": "Opus",
    **dict.fromkeys(("flac", "x-flac"), "FLAC"),
    **dict.fromkeys(("amr", "amr-wb", "3gpp"), "AMR"),
    **{f"l{bits}": f"{bits}-bit samples" for bits in (8, 20, 24)},
}
"""Formats that are refused, by the second part of their media type."""

MAGIC: Final = (
    (0, b"ID3", "MP3"),
    (0, b"OggS", "Ogg"),
    (0, b"fLaC", "FLAC"),
    (0, b"RF64", "RF64 (a long WAV file)"),
    (0, b"RIFX", "RIFX (a big-endian WAV file)"),
    (0, b"FORM", "AIFF"),
    (0, b".snd", "Sun audio"),
    (0, b"caff", "Core Audio"),
    (0, b"#!AMR", "AMR"),
    (0, b"ADIF", "AAC"),
    (0, b"\x1aE\xdf\xa3", "WebM"),
    (4, b"ftyp", "MP4"),
    (0, b"<!DOCTYPE", "a page (HTML)"),
    (0, b"<!doctype", "a page (HTML)"),
    (0, b"<html", "a page (HTML)"),
    (0, b"<HTML", "a page (HTML)"),
    (0, b"<?xml", "XML"),
    (0, b'{"', "JSON"),
    (0, b"data: ", "events"),
)
"""What a body of another format has at which place."""

MAGIC_BYTES: Final = 12
"""How much of a body shows which of these it is."""

CODECS: Final = {3: "float", 6: "A-law", 7: "mu-law", 0x55: "MP3"}

KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
MP3_RATES: Final = (44_100, 48_000, 32_000)


class AudioBody:
    """Takes 16-bit mono samples out of a body: raw ones, or those of WAV files.

    Args:
        vendor: Named in errors.
        sample_rate: Samples per second of what comes out. Audio at another rate that the head or a header names is
            resampled, if soxr is installed.
        media_type: The header `content-type` with its parameters; "" if there was none.

    Raises:
        VendorError: The media type names a format that cannot be played.
    """

    def __init__(self, vendor: str, sample_rate: int, media_type: str = "") -> None:
        self._vendor = vendor
        self._sample_rate = sample_rate
        self._held = bytearray()
        self._read = self._begin
        self._left: int | None = None
        self._may_be_mp3 = False
        self._pads = False
        self._promised = 0
        self._skip = 0
        self._has_format = self._has_samples = False
        self._odd = b""
        self._resampler: Resampler | None = None
        self._check_media_type(media_type)

    def feed(self, piece: bytes) -> bytes:
        """Take bytes, and return the samples among them, which may be none while the format is not known.

        Raises:
            VendorError: The body has another format.
        """
        self._held += piece
        samples = bytearray()
        while (found := self._read()) is not None:
            samples += found
        return self._at_rate(bytes(samples))

    def rest(self) -> bytes:
        """Return the samples that were still held back when the body ended.

        Raises:
            VendorError: The body ended within a header, or before all the audio that its header promised. The second
                error is retryable.
        """
        held = bytes(self._held)
        if self._read == self._chunk and not self._has_samples:
            raise self._refused("a WAV file that ends in its header")
        if self._read == self._samples and self._left:
            sent = self._promised - self._left
            raise failure(self._vendor, f"sent {sent} of {self._promised} bytes of audio: it was cut", retryable=True)
        samples = self._at_rate(held if self._read in (self._begin, self._samples) else b"")
        return samples + (self._resampler.flush() if self._resampler else b"")

    # --- what the head says -------------------------------------------------------------------------------------------

    def _check_media_type(self, media_type: str) -> None:
        parsed = Message()
        parsed["content-type"] = media_type or "application/octet-stream"
        if name := NAMES.get(parsed.get_content_subtype().lower()):
            raise self._refused(name)
        self._may_be_mp3 = parsed.get_content_subtype().lower() in ("mpeg", "mp3")
        given = {key.lower(): str(value).strip().lower() for key, value in parsed.get_params([])[1:]}
        if (channels := given.get("channels", "1")) != "1":
            raise self._refused(f"{channels} channels")
        if given.get("endianness", given.get("endian", "little")).startswith("big"):
            raise self._refused("big-endian samples")
        if (bits := given.get("bits", "16")) != "16":
            raise self._refused(f"{bits}-bit samples")
        for encoding in (given.get("encoding", ""), given.get("format", "")):
            if re.search(r"float|f32|f64|law|s24|s32|[us]8|be$", encoding):
                raise self._refused(f"{encoding} samples")
        rate = given.get("rate", given.get("samplerate", given.get("sample_rate")))
        if rate is not None:
            self._set_rate(int(rate) if re.fullmatch(r"[0-9]{1,9}", rate) else 0)

    # --- what the bytes say -------------------------------------------------------------------------------------------

    def _begin(self) -> bytes | None:
        """Find out the format."""
        head = bytes(self._held[:HEADER_BYTES])
        for at, magic, name in MAGIC:
            if head[at : at + len(magic)] == magic or (not at and head.lstrip().startswith(magic)):
                raise self._refused(name)
        if self._may_be_mp3 and (_mp3_frame(head) or _aac_frame(head)):
            raise self._refused("MP3" if _mp3_frame(head) else "AAC")
        if len(head) < MAGIC_BYTES and any(_may_become(head, at, magic) for at, magic, _ in (*MAGIC, (0, b"RIFF", ""))):
            return None
        if head.startswith(b"RIFF"):
            self._read = self._chunk
            return b""
        if (frames := _frames(head)) is None and len(head) < HEADER_BYTES:
            return None  # it may be compressed; the next frame will show it
        if frames:
            raise self._refused(frames)
        self._read, self._left, self._has_samples = self._samples, None, True
        return b""

    def _chunk(self) -> bytes | None:
        """Read the head of the next part of a WAV file."""
        skipped = min(self._skip, len(self._held))
        del self._held[:skipped]
        self._skip -= skipped
        if self._skip or len(self._held) < 8:
            return None
        kind, size = bytes(self._held[:4]), int.from_bytes(self._held[4:8], "little")
        if kind == b"RIFF":
            if len(self._held) < 12:
                return None
            if (form := bytes(self._held[8:12])) != b"WAVE":
                raise self._refused(f"RIFF of the kind {form!r}")
            self._has_format = False
            del self._held[:12]
        elif kind == b"data":
            if not self._has_format:
                raise self._refused("a WAV file without a format")
            is_known = 0 < size < UNKNOWN_SIZE
            self._left, self._pads, self._promised = size if is_known else None, bool(size % 2), size
            self._read, self._has_samples = self._samples, True
            del self._held[:8]
        elif kind == b"fmt " and size <= HEADER_BYTES:
            if len(self._held) < 8 + size:
                return None
            self._check_format(bytes(self._held[8 : 8 + size]))
            del self._held[:8]
            self._skip = size + size % 2
        elif self._has_samples:
            self._skip = size + size % 2 + 8  # behind the audio anything may stand
        elif size > HEADER_BYTES:
            raise self._refused("a WAV file without samples")
        else:
            self._skip = size + size % 2 + 8
        return b""

    def _check_format(self, fields: bytes) -> None:
        if len(fields) < 16:
            raise self._refused("a WAV file with a broken format")
        code, channels, rate, bits = (
            int.from_bytes(fields[start:end], "little") for start, end in ((0, 2), (2, 4), (4, 8), (14, 16))
        )
        if code == 0xFFFE and len(fields) >= 26:
            code = int.from_bytes(fields[24:26], "little")
        if code in CODECS:
            raise self._refused(f"a WAV file of {CODECS[code]}")
        if code not in (1, 0xFFFE) or (channels, bits) != (1, 16):
            raise self._refused(f"a WAV file of {channels} channels with {bits} bits (format {code})")
        self._has_format = True
        self._set_rate(rate)

    def _samples(self) -> bytes | None:
        """Take samples up to the end of their chunk; up to the next WAV file where nobody knows how many there are."""
        if not self._held and self._left != 0:
            return None
        if self._left is not None:
            taken = bytes(self._held[: self._left])
            self._left -= len(taken)
            del self._held[: len(taken)]
            if not self._left:
                self._read, self._skip = self._chunk, int(self._pads)
            return taken
        end = _next_file(self._held) if self._has_format else len(self._held)
        taken = bytes(self._held[:end])
        del self._held[:end]
        if len(self._held) >= 16:
            self._read = self._chunk
        return taken or (b"" if self._read == self._chunk else None)

    # --- at one rate --------------------------------------------------------------------------------------------------

    def _set_rate(self, rate: int) -> None:
        if rate not in RATES:
            raise self._refused(f"audio of {rate} samples a second")
        if rate == self._sample_rate or self._resampler:
            return
        try:
            self._resampler = Resampler(rate, self._sample_rate)
        except MissingExtra as error:
            sends = f"sends {rate} samples a second instead of {self._sample_rate}"
            raise failure(self._vendor, f"{sends}; set sample_rate={rate}") from error

    def _at_rate(self, pcm: bytes) -> bytes:
        if self._resampler is None:
            return pcm
        pcm = self._odd + pcm
        whole = len(pcm) & ~1
        self._odd = pcm[whole:]
        return self._resampler.feed(pcm[:whole]) if whole else b""

    def _refused(self, found: str) -> VendorError:
        wanted = "16-bit mono samples, raw or in a WAV file (response_format pcm)"
        return failure(self._vendor, f"answered {found} instead of {wanted}; use a model or server that sends those")


def _may_become(head: bytes, at: int, magic: bytes) -> bool:
    begins = (head,) if at else (head, head.lstrip())
    return any(len(begin) < at + len(magic) and magic.startswith(begin[at:]) for begin in begins)


def _next_file(held: bytearray) -> int:
    """Return where the next WAV file begins, or may begin, in samples whose number nobody knows."""
    at = held.find(b"RIFF")
    while at >= 0:
        header = bytes(held[at + 8 : at + 16])
        if b"WAVEfmt ".startswith(header) or header == b"WAVEfmt ":
            return at
        at = held.find(b"RIFF", at + 1)
    for length in (3, 2, 1):
        if held.endswith(b"RIFF"[:length]):
            return len(held) - length
    return len(held)


def _frames(head: bytes) -> str | None:
    """Return the format if two frames of compressed audio follow each other; "" if not, None while nobody knows."""
    for name, length in (("MP3", _mp3_frame(head)), ("AAC", _aac_frame(head))):
        if length:
            following = head[length : length + 2]
            if len(following) < 2:
                return None
            if following[0] == 0xFF and following[1] == head[1]:
                return name
    return "" if head[:1] != b"\xff" or len(head) >= 7 else None


def _mp3_frame(head: bytes) -> int:
    """Return the length of the frame of MP3 that a body may begin with; 0 if it does not."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] & 0x18 == 0x08:
        return 0
    is_1 = head[1] & 0x18 == 0x18
    bitrate, rate = head[2] >> 4, (head[2] >> 2) & 3
    if bitrate in (0, 15) or rate == 3:
        return 0
    per_second = MP3_RATES[rate] >> (0 if is_1 else 1 if head[1] & 0x18 == 0x10 else 2)
    kbits = (KBITS_1 if is_1 else KBITS_2)[bitrate]
    return (144 if is_1 else 72) * kbits * 1_000 // per_second + ((head[2] >> 1) & 1)


def _aac_frame(head: bytes) -> int:
    """Return the length of the frame of AAC that a body may begin with; 0 if it does not."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0
