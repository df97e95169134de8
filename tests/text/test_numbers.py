# ruff: noqa: RUF001 - dashes and signs of many kinds
"""What stands around numbers: a table per rule, in sentences of our own with a bar at every cut to be found."""

from __future__ import annotations

from typing import Final

import pytest

from tests.helpers.cuts import CUTS, barred, cut_as

AMOUNTS: Final = [
    "It costs $.99 a day.|Is that OK?",
    "I see €.50 and US$.75 there.|Both are fees.",
    "Das macht 5 €.|Danke.",
    "That is CHF 12.–.|Do you want it?",
    "The fee is €5.- each, or 250,-- Euro a year.|Shall I?",
    "It was 1.250,-.|Now it is 4,500.- a month.",
    "They raised $1.2M.|Last year it was $350K.",
    "It's $12/yr. billed once, or $5.00/mo. for a year.|Which one?",
    "Your balance is -$12.07.|We charge .5% a month.",
]

IDENTIFIERS: Final = [
    "The part is 5Q0.615.301.F.|We have two.",
    "It is X7.K2Q, file 22-CV-0419.B.|Note it.",
    "Your order is 2024/118.3, in bay 12.B.|It is ready.",
    "Policy KLM.204.7 is active.|Policy ABC.19 is not.",
    "Take seat 14C.|14A is taken.",
    "My room is B.12.|It is upstairs.",
    "Is it tariff Eco.24 or Flex.50?|I see both.",
    "Rule 12.3.b says so, and art. 6.1.a does.|See para. 3, fn. 7.|Is it clear?",
    "It's rev. C.|The old one is rev. B.",
    "Was it no. 4?|I'd say no.|Please try again.",
    "Version 2.4.0b1 is out, and 3.0.4-rc.1 soon.|Install it.",
    "Press Ctrl+. and wait.|She has a B+.|Well done.",
]

LABELS: Final = [
    "Here it is.|Part C. Private plans that do both.|Is that yours?",
    "Section 4.2. Your rights.|Section 5. Our duties.",
    "There are two ways: Option A. Pay it now.|Option B. Pay it in May.",
    "Phase II. Testing.|Appendix C-1. The fees.|Clause 9(a). Notice.",
    "§ 5. Kündigung.|Stimmt das?",
    "Schritt 1. Schalten Sie es aus.|Fertig?",
    "Étape 2. Ouvrez le couvercle.|C'est fait ?",
    "Anexo B. Las tarifas.|¿Lo ve?",
    "**Step 1.** Open the lid.|**Step 2.** Fill it.",
    "It is covered under Part C.|You pay nothing.",
    "Which gate?|Gate C.|It is on your left.",  # a place heads nothing
    "Take 3.|The rest is for Ann.",  # a verb does not either
    "Monday 3.|Would that do?",
    "Lena M. Fischer called.|Call back.",
]

BOTH_SIDES: Final = [
    "Pallet 7 is in bay 12.|12 is next to the dock.",
    "The dose is 2 x 500 mg.|500 mg more is fine.",
    "It is ready at 4:30.|4:30 at the latest.",
    "We open at 9 a.m.|10 people may come in.",
    "Es fehlen noch 12.|40 waren bestellt.",
    "Vous venez à 14 h.|14 h 15 irait aussi.",
    "Quedan 6.|10 llegan el lunes.",
    "We have 12.|² is a sign.",
    "Chegaram 30.|5 vieram com defeito.",
    "Am 3. 5. 2024 war das.|Stimmt es?",
    "On Jan. 31 it ends.|At 5 ft. 6 in. it fits, in 1 hr. 20 min. it is done.|Good.",
]

UNITS: Final = [
    "The shelf is 80 cm.|Steel is heavier.",
    "Tighten it to 120 Nm.|Don't go over.",
    "It is 5 km. from here.|It takes 3 kWh.|Good.",
    "Take 2 tabl. a day.|Tome 3 cáps. por dia.|Prenez 2 sach. par jour.",
    "W kasie jest 40 zł.|Termin to wtorek.",
]

LETTERS: Final = [
    "You are in aisle F.|Look up.",
    "C'est la porte K.|L'embarquement commence.",
    "Das ist Gleis B.|Abfahrt ist um zehn.",
    "Es la puerta C.|Plaza 12.",
    "Ask J. Marsh at row H.|Tickets are there.",
    "It is on Elm St.|Don't miss it.|It is near St. Mary's Church.|Go in.",
    "Ask J. D'Angelo or J. O'Neil.|Both know.",
]

ORDINALS: Final = ["Das war in der 1. und 2. Stunde so.|Danke.", "Er wohnt im 3. oder 4. Stock.|Klingeln Sie."]


@pytest.mark.parametrize("cut", CUTS)
def test_sentences_full_of_numbers_are_cut_where_they_end(cut: str) -> None:
    """A number, a letter that counts and what is counted end a sentence where a reader would say so."""
    tables = [*AMOUNTS, *IDENTIFIERS, *LABELS, *BOTH_SIDES, *UNITS, *LETTERS, *ORDINALS]
    assert [cut_as(cut, table) for table in tables] == [[barred(table)] for table in tables]


NEEDS_LANGUAGE: Final = [
    ("de", "Das steht in Ziff. 4.2 und lit. b.|Gut."),
    ("de", "Laut Abs. 3 gilt das.|Am Do. um 9 auch."),
    ("fr", "Voyez l'al. 2, p. 9.|Le lun. 14 aussi."),
    ("es", "Su hijo está en 3.º B.|La tutora es Ana."),
    ("it", "È al bin. 7, cap. 3.|Va bene."),
    ("pl", "To art. 5 ust. 2 i ok. 240 zł.|Jasne?"),
]


@pytest.mark.parametrize("cut", CUTS)
def test_a_language_knows_its_abbreviations_before_numbers(cut: str) -> None:
    """What is a word elsewhere is an abbreviation in its language, before a number or a small letter."""
    found = [cut_as(cut, table, " ", language) for language, table in NEEDS_LANGUAGE]
    assert found == [[barred(table)] for _, table in NEEDS_LANGUAGE]


@pytest.mark.parametrize("table", ["Jest ok. 240 zł.", "Laut Abs. 3 gilt das.", "Am Do. um 9 Uhr.", "Es en la pág. 9."])
def test_everyday_words_may_be_abbreviations_without_a_language(table: str) -> None:
    """Where no language is given, an everyday word of English waits for a number if another language shortens to it."""
    assert cut_as("whole", table) == [[table]]
