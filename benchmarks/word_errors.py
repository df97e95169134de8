"""How many words a recogniser gets wrong, with one normalisation for what was said and for what was understood.

    lower case, no punctuation, a hyphen separates words        "Call-Forward."  -> call forward
    numbers, ordinals and # in words                            "Press 4, 4th"   -> press four fourth
    contractions written out, dots of abbreviations left out    "You're", "A.M." -> you are, am
    a compound is the same as one word and as two               "file name" and "filename"

An error is a word that is wrong, missing or too many (the least number of them that explains the difference).
"""

from __future__ import annotations

import re

from num2words import num2words

__all__ = ["errors", "words"]

NEGATED = ("do", "does", "did", "is", "are", "was", "were", "has", "have", "had", "would", "could", "should")
CONTRACTIONS = {"can't": "cannot", "won't": "will not", **{f"{word}n't": f"{word} not" for word in NEGATED}}
ENDINGS = {"'re": " are", "'ll": " will", "'ve": " have", "'m": " am"}
IS = {f"{word}'s": f"{word} is" for word in ["it", "that", "there", "here", "what", "who", "where", "he", "she"]}


def words(text: str) -> list[str]:
    """Return the words of a text, normalised."""
    text = (
        text.casefold().replace("\u2019", "'").replace("#", " pound ").replace("%", " percent ").replace("&", " and ")
    )
    text = re.sub(r"\b(?:[a-z]\.){2,}", lambda found: found[0].replace(".", ""), text)
    text = re.sub(r"(\d+)(?:st|nd|rd|th)\b", lambda found: num2words(int(found[1]), to="ordinal"), text)
    text = re.sub(r"\d+", lambda found: f" {num2words(int(found[0]))} ", text)
    return [word for token in re.findall(r"[a-z']+", text) for word in _written_out(token.strip("'")).split()]


def _written_out(token: str) -> str:
    known = CONTRACTIONS.get(token) or IS.get(token)
    if known is not None:
        return known
    for ending, instead in ENDINGS.items():
        if token.endswith(ending):
            return token.removesuffix(ending) + instead
    return token.replace("'", "")


def errors(said: str, understood: str) -> tuple[int, int]:
    """Return the number of errors, and of words that were said."""
    reference, found = words(said), words(understood)
    count = len(reference)
    reference, found = _joined(reference, found), _joined(found, reference)
    row = list(range(len(found) + 1))
    for at, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], at
        for place, other in enumerate(found, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1], count


def _joined(text: list[str], other: list[str]) -> list[str]:
    """Return a text in which two words that the other text has as one are one."""
    joined: list[str] = []
    for word in text:
        if joined and joined[-1] + word in other and joined[-1] + word not in text:
            joined[-1] += word
        else:
            joined.append(word)
    return joined
