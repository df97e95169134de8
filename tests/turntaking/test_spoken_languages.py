"""Back-channels and stop words in each language that the rules know, as people say them over a reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.helpers.spoken_call import SpokenCall
from voicepipe.floor_events import Backchannel
from voicepipe.flow import EarlyTranscript, SpeechEnded, SpeechStarted, Transcript
from voicepipe.turntaking.decisions import Interrupt, Pause, Resume
from voicepipe.turntaking.phrases import known_languages
from voicepipe.turntaking.rules import TurnRules

if TYPE_CHECKING:
    from voicepipe.flow import Hearing

    Script = list[tuple[float, Hearing]]

ASKED: Final[Script] = [(1.0, Transcript("42.", 1.0, 1.0))]
SPEECH_S: Final = 4.0  # when the caller makes themselves heard, in the middle of the reply

BACKCHANNELS: Final = {
    "cs": ["Mhm.", "Jo, jo.", "No jasně.", "Dobře.", "Rozumím."],
    "da": ["Mhm.", "Ja, ja.", "Okay, fint.", "Jeg forstår.", "Præcis."],
    "de": ["Mhm.", "Ja, genau.", "Ach so!", "Alles klar.", "Okay, verstehe."],
    "en": ["Mm-hmm.", "Yeah, okay.", "Oh, I see.", "Right.", "Uh-huh, got it."],
    "es": ["Ajá.", "Sí, sí.", "Claro, claro.", "Vale.", "Ya, entiendo."],
    "fr": ["Mhm.", "Oui, oui.", "D'accord.", "Ah bon, très bien.", "Je vois."],
    "it": ["Mhm.", "Sì, sì.", "Va bene.", "Ho capito.", "Certo, perfetto."],
    "nl": ["Mhm.", "Ja ja.", "Oké, goed.", "Precies.", "Ik snap het."],
    "pl": ["Mhm.", "Tak, tak.", "No tak.", "Dobrze, rozumiem.", "Jasne."],
    "pt": ["Uhum.", "Sim, sim.", "Tá bom.", "Entendi.", "Pois é, claro."],
    "ru": ["Угу.", "Да, да.", "Понятно.", "Хорошо, понял.", "Ну да."],  # noqa: RUF001 - it is Russian
    "sv": ["Mhm.", "Ja, ja.", "Okej, bra.", "Just det.", "Jag förstår."],
}

STOPS: Final = {
    "cs": ["Stop.", "Počkejte prosím.", "Moment!", "Ne, ne.", "Promiňte?"],
    "da": ["Stop.", "Vent lige.", "Nej tak.", "Undskyld?", "Et øjeblik."],
    "de": ["Stopp.", "Warten Sie mal.", "Moment!", "Nein.", "Ja, Entschuldigung."],
    "en": ["Stop.", "Wait, please.", "Hold on!", "No.", "Okay, stop."],
    "es": ["Pare.", "Espere, por favor.", "Un momento.", "No.", "Sí, basta."],
    "fr": ["Arrêtez.", "Attendez, s'il vous plaît.", "Un instant.", "Non.", "Oui, stop."],
    "it": ["Stop.", "Aspetti, per favore.", "Un attimo.", "No.", "Sì, basta."],
    "nl": ["Stop.", "Wacht even.", "Momentje.", "Nee.", "Ja, genoeg."],
    "pl": ["Stop.", "Proszę czekać.", "Chwileczkę.", "Nie.", "Tak, wystarczy."],
    "pt": ["Pare.", "Espere, por favor.", "Um momento.", "Não.", "Sim, chega."],
    "ru": ["Стоп.", "Подождите, пожалуйста.", "Минутку.", "Нет.", "Да, хватит."],
    "sv": ["Stopp.", "Vänta lite.", "Ett ögonblick.", "Nej.", "Ja, sluta."],
}


def cases(phrases: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(language, text) for language, texts in phrases.items() for text in texts]


def spoken(text: str, length_s: float) -> Script:
    """Return what a recogniser reports: early words without punctuation, and the final ones 0.3 s later."""
    end_s = round(SPEECH_S + length_s, 6)
    return [
        (SPEECH_S, SpeechStarted(at_s=SPEECH_S)),
        (end_s, EarlyTranscript(text.strip(".!?").casefold(), stable=False)),
        (end_s, SpeechEnded(at_s=end_s)),
        (round(end_s + 0.3, 6), Transcript(text, end_s, end_s + 0.3)),
    ]


def test_each_language_has_its_cases() -> None:
    """The tables have five back-channels and five claims of the floor for each of the twelve languages."""
    assert len(known_languages()) == 12
    for phrases in (BACKCHANNELS, STOPS):
        assert {language: len(texts) for language, texts in phrases.items()} == dict.fromkeys(known_languages(), 5)


@pytest.mark.parametrize(("language", "text"), cases(BACKCHANNELS))
def test_a_backchannel_interrupts_in_no_language(language: str, text: str) -> None:
    """The reply is paused at most once, for less than a second, goes on, and is heard whole."""
    call = SpokenCall(TurnRules(language=language)).plays([*ASKED, *spoken(text, 0.5)])
    assert (call.times(Interrupt), len(call.times(Backchannel))) == ([], 1)
    assert (call.times(Pause), call.times(Resume)) == ([4.3], [5.1])
    assert (call.agent.answered, len(call.quiet_at)) == (["42."], 1)


@pytest.mark.parametrize("length_s", [0.2, 0.6])
@pytest.mark.parametrize(("language", "text"), cases(STOPS))
def test_who_claims_the_floor_gets_it_at_the_word(language: str, text: str, length_s: float) -> None:
    """The agent is silent from the word on, or from `min_speech_s` on if the word comes later."""
    call = SpokenCall(TurnRules(language=language)).plays([*ASKED, *spoken(text, length_s)])
    silent_s = min(call.times(Pause, Interrupt))
    assert silent_s == SPEECH_S + min(0.3, length_s)
    assert call.times(Interrupt) == [SPEECH_S + length_s]
    assert call.agent.answered == ["42.", text]


@pytest.mark.parametrize("text", ["Mhm.", "Yeah."])
def test_without_a_language_every_word_interrupts(text: str) -> None:
    """With `language=""` no word is known, so all of them claim the floor."""
    call = SpokenCall(TurnRules(language="")).plays([*ASKED, *spoken(text, 0.5)])
    assert call.times(Interrupt) == [4.5]
