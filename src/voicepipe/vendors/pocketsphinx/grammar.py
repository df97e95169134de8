"""A JSGF grammar with the pronunciations of its words, and decoders for it.

Rule 1: a dictionary of the grammar's words alone: with all 134,000 words a decoder takes 29 MB and 0.11 s instead of
        10 MB and 0.015 s.
Rule 2: whatever is wrong with a grammar is found when it is loaded, not when somebody speaks.

Everything here blocks and belongs on a worker thread.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pocketsphinx

from voicepipe.errors import ConfigurationError

__all__ = ["Grammar", "load_grammar"]

_package = cast("Any", pocketsphinx)  # it has no types

_HEADER = "#JSGF"
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_RULE_MADE = re.compile(r"<([^<>]+)>\s*=")
_RULE_USED = re.compile(r"<([^<>]+)>(?!\s*=)")
_BUILT_IN = frozenset({"NULL", "VOID"})


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar that can be decoded.

    Attributes:
        jsgf: Its text.
        dictionary: The lines of the pronouncing dictionary for its words.
    """

    jsgf: str
    dictionary: str

    def decoder(self) -> Any:  # noqa: ANN401 - the package has no types
        """Return a new `pocketsphinx.Decoder` with the grammar active: 10 MB, with a state, so for one call only."""
        decoder = _bare_decoder(self.dictionary)
        decoder.add_jsgf_string("request", self.jsgf)
        decoder.activate_search("request")
        return decoder


def load_grammar(jsgf: str) -> Grammar:
    """Check a grammar and look up its words.

    Raises:
        ConfigurationError: It is no JSGF, has no public rule, uses a rule it does not make, or has words that are not
            in the dictionary (all of them are listed).
    """
    _check_rules(jsgf)
    words = _words(jsgf)
    entries = _pronunciations(words)
    if missing := sorted(words - {word for word, _ in entries}):
        raise ConfigurationError(
            f"the grammar has words that the pronouncing dictionary lacks: {', '.join(missing)}; write words in lower "
            "case, numbers in words, and rare names as words that sound like them"
        )
    grammar = Grammar(jsgf, "".join(line for _, line in entries))
    try:
        grammar.decoder()
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(f"the grammar cannot be decoded ({error}); check its public rule") from error
    return grammar


def _check_rules(jsgf: str) -> None:
    """Find what pocketsphinx does not report: it prints text that is not JSGF, and skips rules that do not exist."""
    if not jsgf.lstrip().startswith(_HEADER):
        raise ConfigurationError(f"a grammar begins with the line '{_HEADER} V1.0;', but this one begins {jsgf[:20]!r}")
    text = _COMMENT.sub("", jsgf)
    used = {rule for rule in _RULE_USED.findall(text) if "." not in rule}  # a dot names a rule of another grammar
    if unknown := sorted(used - set(_RULE_MADE.findall(text)) - _BUILT_IN):
        raise ConfigurationError(
            f"the grammar uses rules that it does not define: {', '.join(f'<{rule}>' for rule in unknown)}; "
            f"add e.g. <{unknown[0]}> = ...;"
        )


def _words(jsgf: str) -> set[str]:
    """Return the words that the grammar's public rule can produce."""
    parser = _bare_decoder("a AH\n")  # it cannot parse without a dictionary
    with tempfile.TemporaryDirectory(prefix="voicepipe-") as directory:
        path = Path(directory, "grammar.fsg")
        try:
            parser.parse_jsgf(jsgf).writefile(str(path))
        except (RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"the grammar is not valid JSGF ({error}); each rule ends with ';', one is `public`, and no rule "
                "begins with itself"
            ) from error
        lines = path.read_text(encoding="utf-8").splitlines()
    # TRANSITION from to probability [word]
    return {fields[4] for line in lines if line.startswith("TRANSITION") and len(fields := line.split()) > 4}


def _pronunciations(words: set[str]) -> list[tuple[str, str]]:
    """Return the wanted words of the dictionary, each with its line; `read(2)` is another way to say `read`."""
    with Path(_package.get_model_path("en-us/cmudict-en-us.dict")).open(encoding="utf-8") as dictionary:
        named = ((line.partition(" ")[0].partition("(")[0], line) for line in dictionary)
        return [(word, line) for word, line in named if word in words]


def _bare_decoder(dictionary: str) -> Any:  # noqa: ANN401 - the package has no types
    with tempfile.TemporaryDirectory(prefix="voicepipe-") as directory:
        path = Path(directory, "words.dict")
        path.write_text(dictionary, encoding="utf-8")
        # A decoder sets the level of the process's log; without FATAL each phrase outside the grammar writes to stderr.
        decoder = _package.Decoder(lm=None, dict=str(path), samprate=16_000, loglevel="FATAL")
        _package.set_loglevel("FATAL")
        return decoder
