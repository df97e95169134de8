"""eSpeak NG, one engine per process.

Rule 1: the library is one global state, and crashes when two threads call it: every call is made under one lock, and
        voice and rate are set again for each utterance.
Rule 2: the callback never waits and never raises; it stops the synthesis through its return value.

Source: speak_lib.h of eSpeak NG 1.52; the limit of the data path and the odd voices were measured with
espeakng-loader 0.2.4.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import difflib
import os
import shutil
import tempfile
import threading
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_short, c_size_t, c_uint, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from voicepipe.errors import ConfigurationError, MissingExtra, VendorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EspeakEngine", "Sink", "engine"]

Sink: TypeAlias = "Callable[[bytes, list[tuple[int, float]]], bool]"
"""Gets audio, and the words that begin in it: position of the first character (from 0), seconds since the utterance's
start. Returns True to stop the synthesis."""

# Larger buffers mean fewer switches between threads; this is what the first audio of a sentence waits for.
_BUFFER_MS = 60
# The library copies the path into 160 bytes, together with the name of a directory.
_LONGEST_PATH_BYTES = 140

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: the asynchronous mode mixes up the audio of two utterances
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: without it a missing data directory ends the process
_CHARACTERS = 1  # POS_CHARACTER
_UTF8 = 1  # espeakCHARS_UTF8; without espeakSSML, so that markup is text
_RATE = 1  # espeakRATE
_EVENTS_END, _WORD = 0, 1  # espeakEVENT_LIST_TERMINATED, espeakEVENT_WORD


class _EventId(ctypes.Union):
    _fields_: ClassVar = [("number", c_int), ("name", c_char_p), ("string", c_char * 8)]


class _Event(ctypes.Structure):
    """`espeak_EVENT`."""

    _fields_: ClassVar = [
        ("type", c_int),
        ("unique_identifier", c_uint),
        ("text_position", c_int),  # in characters, from 1
        ("length", c_int),
        ("audio_position", c_int),  # in milliseconds
        ("sample", c_int),
        ("user_data", c_void_p),
        ("id", _EventId),
    ]


class _Voice(ctypes.Structure):
    """`espeak_VOICE`. `languages` is a list of a priority byte and a name each, so it must not be read as text."""

    _fields_: ClassVar = [
        ("name", c_char_p),
        ("languages", c_void_p),
        ("identifier", c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", c_int),
        ("spare", c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(c_int, POINTER(c_short), c_int, POINTER(_Event))

_engine: EspeakEngine | None = None
_loading = threading.Lock()


def engine() -> EspeakEngine:
    """Return the process's engine, loading it on the first call (about 50 ms: not for the event loop).

    Raises:
        MissingExtra: There is neither espeakng-loader nor a system library.
        ConfigurationError: The library cannot read its data.
    """
    global _engine  # noqa: PLW0603 - the library is one global state; a second engine would be the same one
    with _loading:
        if _engine is None:
            _engine = EspeakEngine()
        return _engine


class EspeakEngine:
    """The library, its voices, and synthesis; made by `engine()`.

    Attributes:
        sample_rate: Samples per second of the audio.
    """

    def __init__(self) -> None:
        self._library, data = _load()
        path = None if data is None else os.fsencode(_reachable(data))
        self.sample_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, path, _DO_NOT_EXIT)
        if self.sample_rate <= 0:
            raise ConfigurationError(
                f"eSpeak NG found no voices in {data or 'its own directory'}; reinstall it: "
                "pip install --force-reinstall 'voicepipe[local]'"
            )
        self._callback = _Callback(self._on_audio)  # the library keeps no reference
        self._library.espeak_SetSynthCallback(self._callback)
        self._lock = threading.Lock()
        self._sink: Sink | None = None
        self._error: BaseException | None = None

    def check_voice(self, voice: str) -> None:
        """Make sure that a voice exists.

        Raises:
            ConfigurationError: It does not; the message names voices with a similar name that do.
        """
        base, plus, variant = voice.partition("+")
        with self._lock:
            if not self._has_voice(base):
                wrong, near = (
                    base,
                    [name for name in _nearest(base, self._voices()) if self._has_voice(name)] or ["en-us"],
                )
            # The library accepts a variant that does not exist, and speaks without it.
            elif plus and variant not in (variants := self._voices(c_char_p(b"variant"))):
                wrong, near = plus + variant, [plus + name for name in _nearest(variant, variants)] or ["+f1", "+m1"]
            else:
                return
        raise ConfigurationError(f"eSpeak NG has no voice {wrong!r}; similar are: {', '.join(near[:4])}")

    def speak(self, text: str, sink: Sink, *, voice: str, words_per_minute: int) -> None:
        """Synthesise a text, calling `sink` on this thread for each piece of audio. Blocks until done or stopped.

        Raises:
            ConfigurationError: There is no such voice.
            VendorError: The library reports a failure.
        """
        # NUL would end the text, and a lone half of a surrogate pair cannot be encoded; both keep their one character.
        encoded = text.replace("\0", " ").encode(errors="replace")
        with self._lock:
            if not self._has_voice(voice):
                raise ConfigurationError(f"eSpeak NG has no voice {voice!r}")
            self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
            self._sink, self._error = sink, None
            try:
                status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
                error = self._error
            finally:
                self._sink = self._error = None
        if error is not None:
            raise error
        if status != 0:
            raise VendorError(f"eSpeak NG failed with status {status}", vendor="espeak", retryable=False)

    def _on_audio(self, samples: Any, count: int, events: Any) -> int:  # noqa: ANN401 - ctypes pointers
        """Hand on what was synthesised. Return 1 to stop. An exception must not reach the library, so it is kept."""
        if not samples or count <= 0 or self._sink is None:
            return 0
        try:
            words = [(e.text_position - 1, e.audio_position / 1000) for e in _until_end(events) if e.type == _WORD]
            return int(self._sink(ctypes.string_at(samples, 2 * count), words))
        except BaseException as error:  # noqa: BLE001 - raised by `speak`
            self._error = error
            return 1

    def _has_voice(self, voice: str) -> bool:
        return bool(self._library.espeak_SetVoiceByName(voice.encode(errors="replace")) == 0)

    def _voices(self, kind: c_char_p | None = None) -> list[str]:
        """Return the languages that have a voice, or the names of the variants."""
        wanted = None if kind is None else byref(_Voice(languages=ctypes.cast(kind, c_void_p)))
        listed = self._library.espeak_ListVoices(wanted)
        names: list[str] = []
        index = 0
        while listed[index]:
            voice = listed[index].contents
            if kind is None:
                names.append(ctypes.string_at(voice.languages + 1).decode())  # after the priority byte
            else:
                names.append(voice.identifier.decode().replace("\\", "/").rpartition("/")[2])
            index += 1
        return names


def _nearest(wanted: str, names: list[str]) -> list[str]:
    """Return the names most like the wanted one, whose own family (`en-...`) comes first."""
    family = wanted.lower().partition("-")[0]
    relatives = [name for name in names if name.partition("-")[0] == family and family]
    close = difflib.get_close_matches(wanted.lower(), names, n=8, cutoff=0.5)
    in_order = difflib.get_close_matches(wanted.lower(), relatives, n=8, cutoff=0.0) + close
    return list(dict.fromkeys(in_order))


def _until_end(events: Any) -> Iterator[Any]:  # noqa: ANN401 - a ctypes pointer
    index = 0
    while events[index].type != _EVENTS_END:
        yield events[index]
        index += 1


def _load() -> tuple[Any, str | None]:
    """Return the library with its functions declared, and where its data is (None: where it was built for)."""
    reasons: list[str] = []
    for find in (_packaged, _installed):
        try:
            path, data = find()
            library = ctypes.CDLL(path)
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append(str(error))
            continue
        library.espeak_Initialize.argtypes = [c_int, c_int, c_char_p, c_int]
        library.espeak_SetSynthCallback.argtypes = [_Callback]
        library.espeak_SetSynthCallback.restype = None
        library.espeak_SetVoiceByName.argtypes = [c_char_p]
        library.espeak_SetParameter.argtypes = [c_int, c_int, c_int]
        library.espeak_ListVoices.argtypes = [POINTER(_Voice)]
        library.espeak_ListVoices.restype = POINTER(POINTER(_Voice))
        library.espeak_Synth.argtypes = [
            c_char_p, c_size_t, c_uint, c_int, c_uint, c_uint, POINTER(c_uint), c_void_p,
        ]  # fmt: skip
        return library, data
    raise MissingExtra("EspeakTTS", "espeakng_loader", "local", detail="; ".join(reasons))


def _packaged() -> tuple[str, str | None]:
    import espeakng_loader  # noqa: PLC0415 - an optional package

    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


def _installed() -> tuple[str, str | None]:
    return "libespeak-ng.so.1", None


def _reachable(data: str) -> str:
    """Return a path to the data that is short enough for the library; deep virtual environments have longer ones."""
    if len(os.fsencode(data)) <= _LONGEST_PATH_BYTES:
        return data
    directory = tempfile.mkdtemp(prefix="espeak-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)  # not before: voices are read when first used
    link = str(Path(directory, "data"))
    with contextlib.suppress(OSError, NotImplementedError):  # a platform without links: reported below
        Path(link).symlink_to(data, target_is_directory=True)
        if len(os.fsencode(link)) <= _LONGEST_PATH_BYTES:
            return link
    raise ConfigurationError(
        f"eSpeak NG reads its data from paths of at most {_LONGEST_PATH_BYTES} bytes, but it is installed in {data} "
        f"and a link in {directory} does not help; use a virtual environment in a shorter path"
    )
