# ruff: noqa: RUF001 - words of many scripts, look-alikes included
"""What the sentence splitter knows about languages: abbreviations, words that begin sentences, months.

Rule 1: data only. An entry in lower case is found in any case, one with a capital only as written ("Sat." not "sat.").
Rule 2: a missing entry costs a wrong cut, a surplus one costs a pause of one word. When in doubt, put it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

__all__ = ["Words", "prefixes", "words_for"]


@dataclass(frozen=True, slots=True)
class Words:
    """One language, as far as the ends of sentences depend on it.

    Attributes:
        leading: Abbreviations that something always follows: "Dr.", "e.g.".
        counted: Abbreviations before a number that are also words of their own: "no.", "fig.".
        either: Abbreviations inside and at the end of sentences: "Inc.", "etc.".
        times: What follows the hour; as `either`, but most capitals after it begin a sentence: "a.m.".
        starters: Words that begin sentences and are hardly ever names.
        dates: Words that go on after an hour or a day: "9 a.m. Eastern", "12. Juni".
        has_ordinals: Whether "3." is how the language writes "3rd".
    """

    leading: frozenset[str]
    counted: frozenset[str]
    either: frozenset[str]
    times: frozenset[str]
    starters: frozenset[str]
    dates: frozenset[str]
    has_ordinals: bool


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _words(
    *,
    leading: str = "",
    counted: str = "",
    either: str = "",
    times: str = "",
    starters: str = "",
    dates: str = "",
    has_ordinals: bool = False,
) -> Words:
    return Words(
        leading=_set(leading),
        counted=_set(counted),
        either=_set(either),
        times=_set(times),
        starters=_set(starters),
        dates=_set(dates),
        has_ordinals=has_ordinals,
    )


ENGLISH: Final = _words(
    leading="dr mr mrs ms mx prof sgt capt cmdr lt messrs e.g i.e eg ie cf vs viz approx ca eq pp vols Adm Col "
    "Gen Gov Hon Maj Pres Rep Rev Sen Supt",
    counted="no nos fig figs art sec ch chap vol pt ext in n°",
    either="etc al inc co corp ltd llc plc bros jr sr esq st ave blvd rd ln pl sq hwy pkwy mt ft apt ste bldg "
    "dept dist univ assn intl natl est govt min mins hr hrs secs lb lbs oz tbsp tsp qt gal pkg yd kg km "
    "cm mm mg ml max avg temp tel misc incl ed eds trans ph.d m.d b.a b.sc d.d.s Jan Feb Mar Apr Jun Jul "
    "Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun",
    times="a.m p.m am pm",
    starters="a after all also although an and another any anyone anything are as at because before both but by "
    "call can could did do does during each either every everyone everything feel first for from had has "
    "have he her here hers his how however i if in instead is it its just last later let many maybe "
    "meanwhile more most my neither next nobody not nothing now of ok okay on once one only or other "
    "otherwise our over perhaps please several shall she should since so some someone something "
    "sometimes soon sorry still sure take thank thanks that the their then there these they this those "
    "though through to today together tomorrow tonight two under unfortunately unless until up was we "
    "well were what whatever when whenever where whether which while who whose why with without would "
    "yes yesterday yet you your",
    dates="monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat "
    "sun january february march april june july august september october november december eastern "
    "central mountain pacific et ct mt pt est edt cst cdt mst mdt pst pdt utc gmt bst cet cest ist",
)

LANGUAGES: Final = {
    "en": ENGLISH,
    "de": _words(
        leading="dr prof hr fr dipl ing mag nr str bzw ca z.b d.h u.a o.ä s.o s.u v.a i.d.r evtl ggf vgl inkl zzgl "
        "abzgl exkl bspw sog tel abs max min mind st gem lt zz",
        either="usw etc uvm u.ä mio mrd std jh chr Jan Feb Mär Apr Jun Jul Aug Sept Sep Okt Nov Dez Mo Di Mi Do Fr "
        "Sa So",
        starters="aber alle als am an auch auf aus bei bis bitte da damit danach danke dann das dazu dein deine dem "
        "den der deshalb die dies diese dieser dieses doch du ein eine einen er es für gerne gibt haben hat "
        "heute hier ich ihr ihre im in ist ja jetzt kann kein können leider man mein mit morgen möchten nach "
        "nein noch nur ob oder sehr sein seit sie sind so soll sollen um und uns unser viele vielen von vor "
        "wann war warum was weil welche wenn wer werden wie wir wird wo wurde zu zum zur zwar",
        dates="januar februar märz april mai juni juli august september oktober november dezember",
        has_ordinals=True,
    ),
    "fr": _words(
        leading="mm dr pr me mgr st ste av bd boul env tél p.ex cf chap vol",
        counted="art fig n°",
        either="etc apr janv févr avr juil sept oct nov déc",
        starters="alors après au aussi avec avez bien c ce cela ces cette chez comme dans depuis des donc elle elles "
        "en est et il ils j je l les leur ma mais merci mon non notre nous on or ou oui par pas pendant plus "
        "pour pourquoi puis quand que quel quelle qui sa selon si son sur tous tout toutes très tu un une "
        "vos votre voulez vous à",
    ),
    "es": _words(
        leading="sr sra srta dr dra lic ing prof dña ud uds vd vds p.ej núm pág págs aprox tel av avda cía",
        either="etc ee.uu s.a s.l a.c d.c",
        starters="a además ahora al algo antes así aunque como con cuando cuál cuánto de desde después dónde ella "
        "ellos en entonces era es esa ese eso esta este esto está están fue gracias ha hay hola la las le lo "
        "los me mi muy más no nos nuestro o para pero por porque puede puedo que quiere qué se si sin sobre "
        "son su sus también te tiene todo todos tu un una usted vamos y ya yo él",
        times="a.m p.m",
    ),
    "it": _words(
        leading="sig sigg sig.ra sig.na dott dott.ssa prof prof.ssa avv ing geom arch on tel pag pagg cap es ca p.es "
        "art",
        either="ecc s.p.a s.r.l gen feb mar apr mag giu lug ago set ott nov dic",
        starters="a abbiamo al alla anche ancora c che chi ci come con cosa da dal di dopo dove e ecco era gli grazie "
        "ha hai ho il in invece io l la le lei lo loro ma mi mio nel nella noi non ogni ora per perché "
        "perfetto più poi posso può quando quanto quello questa questo qui se si sono su sua suo sì tra "
        "tutti tutto un una uno va voglio vuole è",
    ),
    "pt": _words(
        leading="sr sra srs dr dra eng prof profa exmo exma av pág tel aprox núm p.ex",
        either="etc s.a ltda",
        starters="a agora ainda algo além antes ao aqui as até cada com como da de depois desde do e ela ele eles em "
        "entre era essa esse esta este está eu foi há isso já mais mas me meu muito na no nos não o obrigado "
        "os ou para pelo pode por porque posso qual quando que quem quer se sem seu sim sobre sua são também "
        "tem todos tudo um uma você à",
    ),
    "nl": _words(
        leading="dhr mevr mw dr drs ir ing prof bijv bv ca nr tel t.a.v m.b.t t.o.v o.a d.w.z blz st jl resp incl excl",
        either="enz etc e.d n.v b.v a.u.b",
        starters="aan al alle als bent bij daar dan dat de deze die dit doe door dus een en er ga graag heb heeft het "
        "hier hij hoe ik in is ja je jullie kan kunt maar mag me met mijn na naar nee niet nog nu of om onze "
        "ook op over te tot u uit uw van veel voor waar wanneer want wat we welke wie wij wil wilt worden "
        "wordt ze zij zijn zo zou",
    ),
    "pl": _words(
        leading="np tzn tj ul al pl dr prof inż mgr hab św ks tel nr str godz ok tzw gen",
        either="itd itp m.in zł mln mld tys",
        starters="a ale co czy dla do gdy gdzie i ich ile ja jak jego jej jest już kiedy kto która który ma może my "
        "na nie o od oraz po proszę przed się są ta tak tam te ten to tu twój w we wszystko z za że",
    ),
    "ru": _words(
        leading="ул им пр проф акад тел стр рис см т.е т.н напр гр св просп обл",
        either="гг т.д т.п др руб тыс млн млрд вв коп мин сек кв",
        starters="а в вам вас ваш во вот все вы где да для до если есть и из или их к как когда кто мы на не нет но о "
        "он она они от по под после при с сейчас так также там то тот у хотите что это этот я",
    ),
    "sv": _words(
        leading="t.ex bl.a dvs ca kl nr tel dr prof s.k fr.o.m t.o.m st resp inkl",
        either="osv m.m etc kr",
        starters="att av de den det du där efter eller en ett från för han har hon hur här i ja jag kan man med men "
        "mycket nej nu när och om på som så till vad var vi vill är",
    ),
    "da": _words(
        leading="f.eks bl.a dvs ca kl nr tel dr prof skt hr fr pga jf inkl",
        either="osv mv etc kr co",
        starters="af at de den der det du efter eller en er et for fra han har hun hvad hvor hvordan hvornår i ja jeg "
        "kan man mange med men nej nu når og om på som så til var vi vil",
        has_ordinals=True,
    ),
    "cs": _words(
        leading="např tzv tj ul tel str ing mgr judr mudr prof dr doc sv cca resp popř",
        either="atd apod s.r.o a.s kč mil",
        starters="a aby ale ano byl co do ho i jak je jsme jsou kde kdo kdy když má máte na ne o od po pro prosím s "
        "se tak tato ten tento to u v ve z za že",
        has_ordinals=True,
    ),
    "sk": _words(
        leading="napr tzv tj ul tel str ing mgr judr mudr prof dr doc sv cca resp",
        either="atď apod s.r.o a.s mil",
        starters="a aby ako ale ano bol do i je kde kedy keď kto má máte na nie o od po pre prosím s sa sme sú tak "
        "ten tento to táto u v vo z za áno čo že",
        has_ordinals=True,
    ),
}

# Starters elsewhere, parts of names or English words in a text of unknown language ("St. La Salle", "J. De Witt").
_NAME_PARTS: Final = _set(
    "al as c d da dal de del den der di die do el en er est fr hat i il ja j l la las le les lo los m ma man me mi my "
    "nor nu o om op or os r si son st su te ten to u un van vi von war was y"
)


def _merged() -> Words:
    """Return English with what the other languages add without taking an everyday English word for something else."""
    others = [words for words in LANGUAGES.values() if words is not ENGLISH]
    known = ENGLISH.leading | ENGLISH.counted | ENGLISH.either | ENGLISH.times
    # In a text that may be English these are first of all words; holding them for ever would join two sentences.
    everyday = _set("abs ago al arch cap do doc es gem mag max me mi min mw ok on pl pr resp set so")
    leading = frozenset[str]().union(*(words.leading for words in others)) - known - everyday
    either = frozenset[str]().union(*(words.either for words in others)) - known - everyday - leading
    return Words(
        leading=ENGLISH.leading | leading,
        counted=ENGLISH.counted,
        either=ENGLISH.either | either,
        times=ENGLISH.times,
        starters=ENGLISH.starters | (frozenset[str]().union(*(words.starters for words in others)) - _NAME_PARTS),
        dates=ENGLISH.dates.union(*(words.dates for words in others)),
        has_ordinals=False,
    )


_ANY: Final = _merged()


def words_for(language: str | None) -> Words:
    """Return what is known about a language ("de", "pt-BR"), or about all at once for None and unknown codes."""
    if language is None:
        return _ANY
    return LANGUAGES.get(language.replace("_", "-").partition("-")[0].lower(), _ANY)


@cache
def prefixes(words: frozenset[str]) -> frozenset[str]:
    """Return all beginnings of the words, so that a word can be ruled out before it is complete."""
    return frozenset(word[:end] for word in words for end in range(1, len(word) + 1))
