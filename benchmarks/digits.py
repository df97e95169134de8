"""What PocketSphinx makes of digits that a person says, and of sounds that are no words, with several grammars."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np

from benchmarks._figures import Figure
from benchmarks.scenes import ASTERISK, RATE, espeak, levelled
from voicepipe.audio.wav import read_wav

__all__ = ["digits"]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUMBERS = 20
LENGTH = 5
BETWEEN_S = 0.1

DIGIT = f"<digit> = {' | '.join(WORDS)};"
FIVE = f"#JSGF V1.0; grammar five; public <number> = {'<digit> ' * LENGTH}; {DIGIT}"
LOOP = f"#JSGF V1.0; grammar loop; public <number> = <digit>+; {DIGIT}"
ONE = f"#JSGF V1.0; grammar one; public <number> = <digit>; {DIGIT}"
GARBAGE = f"#JSGF V1.0; grammar garbage; public <number> = <digit> | um | uh | hmm | mhm; {DIGIT}"

HUMS = ("mhm", "hmm", "uh", "um", "mm")
VOICES = ("en-us", "en-us+f3", "en-gb-x-rp")


def digits() -> list[Figure]:
    """Return how many digits are wrong, and how many sounds are taken for digits; there is no bar."""
    spoken = [levelled(*read_wav(ASTERISK / "digits" / f"{digit}.wav")) for digit in range(10)]
    draw = random.Random(1)
    numbers = [[draw.randrange(10) for _ in range(LENGTH)] for _ in range(NUMBERS)]
    recordings = [_recording([spoken[digit] for digit in number], seed) for seed, number in enumerate(numbers)]
    wanted = [[WORDS[digit] for digit in number] for number in numbers]
    figures = []
    for name, grammar, penalty in (
        (f"a grammar of {LENGTH} digits", FIVE, None),
        ("a grammar of any number of digits", LOOP, None),
        ("the same, insertion penalty 0.001 (0.65 is usual)", LOOP, 1e-3),
    ):
        found = _decoded(grammar, recordings, penalty)
        wrong = sum(_edits(right, text) for right, text in zip(wanted, found, strict=True))
        title = f"PocketSphinx, numbers of {LENGTH} digits that a person says, {name}"
        figures.append(Figure(f"{title}: wrong digits", 100 * wrong / (NUMBERS * LENGTH), "%"))
        whole = sum(right == text for right, text in zip(wanted, found, strict=True))
        figures.append(Figure(f"{title}: numbers without an error, of {NUMBERS}", whole))
    return figures + _sounds([_recording([one], 0) for one in spoken])


def _sounds(single: list[bytes]) -> list[Figure]:
    hums = [_recording([levelled(*espeak(voice, hum))], 0) for voice in VOICES for hum in HUMS]
    coughs = [_recording([_cough(seed)], seed) for seed in range(len(hums))]
    figures = []
    for name, grammar in (("one digit", ONE), ("one digit, or um, uh, hmm, mhm", GARBAGE)):
        for what, recordings in (("hums", hums), ("coughs", coughs)):
            taken = sum(bool(set(text) & set(WORDS)) for text in _decoded(grammar, recordings))
            figures.append(
                Figure(f"PocketSphinx, a grammar of {name}: {what} taken for a digit, of {len(hums)}", taken)
            )
        right = sum(text == [word] for text, word in zip(_decoded(grammar, single), WORDS, strict=True))
        figures.append(Figure(f"PocketSphinx, a grammar of {name}: single digits understood, of 10", right))
    return figures


def _cough(seed: int):
    """Return a burst of noise of 0.3 s that swells and dies away."""
    count = int(0.3 * RATE)
    return np.random.default_rng(seed).normal(0.0, 0.1, count) * np.hanning(count)


def _recording(pieces, seed: int) -> bytes:
    """Return sounds one after another as PCM, with the noise that the recogniser adds to audio."""
    pause, between = np.zeros(int(0.3 * RATE)), np.zeros(int(BETWEEN_S * RATE))
    samples = np.concatenate([pause, *(part for piece in pieces for part in (piece, between)), pause]) * 32_768
    samples += np.random.default_rng(seed).normal(0.0, 30.0, len(samples))
    return samples.clip(-32_768, 32_767).astype("<i2").tobytes()


def _decoded(jsgf: str, recordings: list[bytes], penalty: float | None = None) -> list[list[str]]:
    """Return the words of each recording, decoded as `PocketsphinxRecogniser` does."""
    import pocketsphinx  # noqa: PLC0415 - an optional package

    from voicepipe.vendors.pocketsphinx.grammar import load_grammar  # noqa: PLC0415 - imports it

    grammar = load_grammar(jsgf)
    decoder = grammar.decoder()
    if penalty is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "words.dict")
            path.write_text(grammar.dictionary)
            decoder = pocketsphinx.Decoder(lm=None, dict=str(path), samprate=RATE, loglevel="FATAL", wip=penalty)
        decoder.add_jsgf_string("digits", jsgf)
        decoder.activate_search("digits")
    found = []
    for pcm in recordings:
        decoder.start_utt()
        for at in range(0, len(pcm), 960):
            decoder.process_raw(pcm[at : at + 960], False, False)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        found.append(hypothesis.hypstr.split() if hypothesis is not None else [])
    return found


def _edits(right: list[str], found: list[str]) -> int:
    """Return how many words are missing, wrong or too many."""
    row = list(range(len(found) + 1))
    for number, word in enumerate(right, 1):
        before, row[0] = row[0], number
        for at, other in enumerate(found, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (word != other))
    return row[-1]
