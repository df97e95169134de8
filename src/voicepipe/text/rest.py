"""What is left to say of a text of which a part was heard.

Rule 1: pure. A sentence that was cut is said again from its beginning; what was heard before it is not.
Rule 2: in doubt the answer is None: it is better to ask the model than to repeat or to leave out words.
"""

from __future__ import annotations

from voicepipe.text.sentences import SentenceSplitter

__all__ = ["rest_of"]


def rest_of(written: str, heard: str, language: str | None = None) -> str | None:
    """Return the rest of a text, from the beginning of the sentence that was cut; "" if all of it was heard.

    Args:
        written: The text.
        heard: What was heard of it, perhaps with other white space and marks.
        language: ISO 639-1 code of the text, as `SentenceSplitter` takes it.

    Returns:
        The rest; None if the text does not begin with what was heard, because a stage put other words in its place.
    """
    known = _words(heard)
    if not _words(written).startswith(known):
        return None
    splitter = SentenceSplitter(language)
    sentences = [*splitter.feed(written), *splitter.flush()]
    left = len(known)
    for index, sentence in enumerate(sentences):
        if (length := len(_words(sentence))) > left:
            return "".join(sentences[index:]).strip()
        left -= length
    return ""


def _words(text: str) -> str:
    return "".join(filter(str.isalnum, text))
