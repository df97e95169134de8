# ruff: noqa: RUF001 - marks of many scripts, look-alikes included
"""What marks mean: a table per reason to hold one, and replies as assistants give them. All sentences are our own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import pytest

from voicepipe.sentences import SentenceSplitter

_TOKEN: Final = re.compile(r"[ .]?\w+| ?[^\w\s]+|\s")
_MARK: Final = re.compile(r" ?\w+|([^\w\s])\1*|\s")
# How streams cut a text: dots leading words and marks in runs, every mark a delta, characters, all at once.
CUTS: Final[dict[str, Callable[[str], list[str]]]] = {
    "tokens": _TOKEN.findall,
    "marks": lambda text: [match.group() for match in _MARK.finditer(text)],
    "characters": list,
    "whole": lambda text: [text],
}


def spoken(deltas: Iterable[str], language: str | None) -> list[str]:
    """Return all sentences without the white space around them."""
    splitter = SentenceSplitter(language)
    sentences = [sentence for delta in deltas for sentence in splitter.feed(delta)]
    return [sentence.strip() for sentence in [*sentences, *splitter.flush()] if sentence.strip()]


def cut_as(cut: str, table: str, glue: str = " ", *languages: str | None) -> list[list[str]]:
    """Return the sentences found in a text whose bars mark the cuts, with each language and without one."""
    text = re.sub(r"\|(\n?)", lambda bar: bar[1] or glue, table)
    return [spoken(CUTS[cut](text), language) for language in (languages or (None,))]


def barred(table: str) -> list[str]:
    """Return the sentences between the bars."""
    return [sentence.strip() for sentence in table.split("|")]


# Texts with a bar at every cut to be found, by the reason why their marks are no easy ones.
EXACT: Final = [
    ("plain", "I moved it to this morning.|Shall I do more?|Great!|Bye."),
    ("plain", "Nothing to cut here"),
    ("decimal", "It's 3.5 miles.|Take a cab."),
    ("decimal", "There are 14.|Two are new."),
    ("decimal", "It rose by 2.5% since May.|Good news."),
    ("whole number", "Your total is $18.40.|Pay now?"),
    ("whole number", "Call 555-0142.|Ask for Mia."),
    ("title", "Ask Dr. Lund or Mrs. Okoro.|Both are in."),
    ("title", "Prof. Vance, e.g. in May, teaches.|Ask her."),
    ("counted", "Take bus no. 12 from here.|It is quick."),
    ("counted", "The answer is no.|Sorry."),
    ("counted", "No.|We are closed."),
    ("counted", "See fig. 4 there.|It helps."),
    ("abbreviation", "Acme Inc. ships to Elm St. in Dover.|It takes a day."),
    ("abbreviation", "Bring pens, paper, etc.|You will need them."),
    ("abbreviation", "We close on Dec. 24 and Sun. mornings.|Come before."),
    ("abbreviation", "It is on Palm Blvd. near the pier.|You will see it."),
    ("abbreviation", "We open Mon.-Fri. 9 to 5.|The min. is two.|Ask Dipl.-Ing. Rau."),
    ("abbreviation", "He moved from Mass. to Ill. in May.|Ann Dell, a.k.a. The Owl, did not."),
    ("acronym", "The U.S. office is shut.|Try again."),
    ("acronym", "He moved to the U.K.|He likes it."),
    ("acronym", "A Ph.D. Program starts.|Join."),
    ("time", "It opens at 9 a.m. on Monday.|Come early."),
    ("time", "It closes at 5 p.m.|Tickets are free."),
    ("time", "Call at 8 a.m. Eastern.|Or later."),
    ("initial", "Ask J. P. Moreau for it.|He knows."),
    ("initial", "It is for you and I.|We share."),
    ("initial", "J. A. Blum called.|Call back."),
    ("ordinal", "Er kommt am 12. Juni an.|Danke."),
    ("ordinal", "In der 4. Etage ist er.|Danke."),
    ("site", "Visit example.com for it.|It is free."),
    ("site", "Write to jo.doe@example.org.|She answers."),
    ("site", "Have you tried Example.net?|It is cheap."),
    ("site", "Go to example.com/a?b=1.2 now.|Log in."),
    ("site", "Open the file report.txt there.|Read it."),
    ("id", "Your code is B7.C9.|Keep it."),
    ("id", "Update to 12.4.1.|Then restart."),
    ("ellipsis", "Let me see...|Here it is."),
    ("ellipsis", "Well... maybe not.|Sorry."),
    ("ellipsis", "Hold on…|Found it."),
    ("ellipsis", "Wait . . . there it is.|Good."),
    ("quote", 'She said "Stop."|Then she left.'),
    ("quote", "“Really?” she asked.|“Yes.”|He nodded."),
    ("quote", "Press 'Next.'|Then wait."),
    ("quote", "„Komm mit.“|Er ging."),
    ("quote", "« Oui. »|Elle part."),
    ("quote", "It is full (so they say.) but open.|Go in."),
    ("quote", "*Good idea!*|I will add it."),
    ("newline", "Opening hours|\nWe open at nine.|\nParking|\nIt is free."),
    ("newline", "1. Red|\n2. Blue|\n3. Dr. Green's|\nPick one."),
    ("newline", "- Tea|\n- Milk|\nThat is all."),
    ("newline", "a. The red one|\nb. The blue one|\nPick one."),
    ("wide", "明日は晴れです。|傘は要りません。"),
    ("wide", "「はい。行きます。」と言った。|では。"),
    ("wide", "他说：“好。”|然后走了。"),
    ("wide", "好吗？|好！"),
    ("other scripts", "कल मिलते हैं।|ठीक है?"),
    ("other scripts", "هل تريد المزيد؟|نعم."),
    ("other scripts", "ሰላም።|ደህና ነኝ።"),
    ("other scripts", "Который час?|Уже пять.|Пора."),
    ("spaced dots", "It went on . . . and on.|Fine."),
    ("spaced dots", "Wait . . . I see.|Good."),
    ("spaced dots", "It faded away . . . .|Then silence."),
    ("ellipsis", "Wait... And one more thing.|Go on."),
    ("ellipsis", "The list [...] is long.|See page 2."),
    ("two dots", "It was great.. Carla liked it.|She said so."),
    ("two dots", "It was great..|The soup too."),
    ("lone dot", "They left for Oslo .|Nobody knew."),
    ("lone dot", "It rose by .5 and by .7 points.|Not bad."),
    ("marks together", "No!!!|Stop that!!|Why?"),
    ("emoji", "Here you go 🎉 as promised.|Bye 👋!|Take care 😊."),
    ("brand", "I saw it at Wham! last week.|It was loud."),
    ("brand", "Welcome to Oslo!|Enjoy."),
    ("code", "Call `list. Sort()` there.|Then `go!`.|Done."),
    ("code", "Look:|\n```|\na = b.c|\nd. E()|\n```|\nThat is it."),
    ("inline list", "1. tea|2. milk|3. jam"),
    ("inline list", "a) tea|b) milk|c) jam"),
    ("inline list", "• tea|• milk|• jam"),
    ("inline list", "Choose: 1. Tea|2. Milk"),
    ("inline list", "1. Dial 2 or 2. Then wait.|2. Speak."),
    ("whole number", "It was in 2019.|Since then it is 12/31.|It is 24/7."),
    ("whole number", "The 5th.|At 20°C.|At 9 p.m. EST.|Good."),
    ("title", "I asked the Dr.|He knew."),
    ("title", "I asked the Rev. Boyle.|He knew."),
    ("closing", "Tea, milk, etc. are here.|Tea, milk, etc.|Cups too."),
    ("unit", "It takes 5 min. by bus.|Come on in.|It is 3 in. long."),
    ("fronted", "At 7 a.m. Ms. Cole rings.|Be there."),
    ("link", "I like tea and.|Well, cake."),
    ("glued", "That is it.|There is no more."),
    ("site", "Go to Acme.Shop now.|Buy."),
    ("roman", "Er wohnt in der Karl IV. Straße.|Danke."),
    ("site", "Visit example.ca.|Then call."),
    ("ellipsis", "The list […] Is long.|See page 2."),
    ("site", "Open http://localhost/find?q=1 now.|Log in."),
    ("inline list", "1. Take 2.|\n2. Go."),
    ("inline list", "1.) tea|2.) milk"),
    ("spaced mark", "Vous avez un tél. ?|Oui."),
    ("street", "Parkstr. 9 is near.|Walk."),
    ("elision", "L'avv. Serra arriva.|Bene."),
]

# Replies as assistants give them: the guard against rules that fit single sentences.
REPLIES: Final = [
    ("en", "Okay, done.|What else?"),
    ("en", "Sure thing!|Which day suits you best?"),
    ("en", "No problem.|I'll wait."),
    ("en", "No.|The museum is shut on Mondays."),
    ("en", "I'm afraid that's not possible.|Could you try again at 7?"),
    ("en", "Your parcel no. 88-412.7 left Leeds at 6:45 a.m.|It should reach you by Thursday."),
    ("en", "That comes to $1,249.99.|Shall I charge the card ending in 4471?"),
    ("en", "You have £12.50 left, i.e. enough for two trips.|Would you like to top up?"),
    ("en", "Your flight leaves at 10.15 p.m. from Gate 22.|Boarding starts an hour earlier."),
    ("en", "I found 3 tables for Fri. Sept. 12 at 8 p.m.|Which one do you want?"),
    ("en", "Dr. Amara Obi is out until Jan. 3.|Mrs. Lane covers for her."),
    ("en", "Mr. and Mrs. J. R. Haddock live at 14 Quay St. in Dover.|Their bell is broken."),
    ("en", "The office is at 200 Harbor Blvd. Suite 4.|Ring twice."),
    ("en", "It is owned by Hart & Sons Ltd. of Bristol.|They also own the pier."),
    ("en", "She joined Peak Foods Inc. in 2019.|Since then sales have doubled."),
    ("en", "Please call us at 020 7946 0123.|We're here from 9 a.m. to 5 p.m. every day."),
    ("en", "The U.S. Army Museum opens at noon.|Tickets are free."),
    ("en", "He's flying to the U.K.|His sister is picking him up."),
    ("en", "Bring a pen, a ruler, etc. and arrive early.|You'll get paper there."),
    ("en", "Version 2.4.1 fixes that.|Version 2.5 comes in May."),
    ("en", "Open settings.json and set level to 0.8.|Save it.|Done!"),
    ("en", "Go to support.example.org/faq.html for more.|Or email help@example.org."),
    ("en", "Just visit example.co.uk.|You can log in there."),
    ("en", "The router is at 192.168.1.254.|Type that into your browser."),
    ("en", "Use `pip install acme.core` first.|Then run `acme.start()`."),
    ("en", 'Say "Stop." or "Pause." at any time.|I\'ll listen.'),
    ("en", 'He asked, "Are you ready?" and left.|I wasn\'t.'),
    ("en", "“It's over.”|Those were his words."),
    ("en", "(That's just my guess.)|Ask a doctor to be sure."),
    ("en", "It rained all day (about 2.5 in. in total).|Tomorrow looks better."),
    ("en", "Hmm... let me look.|Ah, here it is."),
    ("en", "I'm checking...|Two seats are left."),
    ("en", "Wait… really?|That's great!"),
    ("en", "**Good news!**|Your refund is through."),
    ("en", "**Total:** $40.20.|**Due:** May 3."),
    ("en", "Here's the plan:|\n1. Wake at 6 a.m.|\n2. Run 5 km.|\n3. Eat.|\nSimple, right?"),
    ("en", "- Milk, 1.5 l|\n- Eggs (6)|\n- Bread|\nAnything to add?"),
    ("en", "Pick one: 1. soup|2. salad|3. pie"),
    ("en", "### Hours|\nWe're open daily.|\n### Prices|\nAdults pay $8.50."),
    ("en", "I work at Yahoo! in the evenings.|It's fun."),
    ("en", "You and I are in group B.|The others are in group A."),
    ("en", "Chapter 4 begins on p. 81.|See also fig. 2."),
    ("en", "The oven should be at 180°C.|Bake for 45 min. or so."),
    ("en", "Temperatures reach 31.5°.|Drink enough."),
    ("en", "It's 5 ft. 9 in. tall.|It won't fit."),
    ("en", "Your PIN is 0042.|Don't share it."),
    ("en", "We were founded in 1998.|That's a long time ago."),
    ("en", "The deadline is March 14, 2026.|Don't miss it."),
    ("en", "The score was 3:2.|What a match!"),
    ("en", "Your code is A-7.31-K.|Read it to the driver."),
    ("en", "I do.|You don't?"),
    ("en", "Yes, I am.|Ask me anything."),
    ("en", "Look at that.|It worked!"),
    ("en", "She has a Ph.D. in physics.|He has an M.A.|They met in Rome."),
    ("en", "St. Mary's is next to Mt. Ida.|You can't miss it."),
    ("en", "I've moved it to 3 p.m. Tuesday.|Everyone has been told."),
    ("en", "At 7 a.m. Mr. Bell opens the gate.|Be there."),
    ("en", "Great!!|See you there."),
    ("en", "Is it 50% or 5.5%?|I can't tell."),
    ("en", "We ship to D.C. and L.A. only.|Sorry!"),
    ("en", "The winner is Sammy Davis Jr.|He sang first."),
    ("en", "Ask for T. J. at the desk.|He's tall."),
    ("en", "He likes jazz, e.g. Monk.|So do I."),
    ("es", "¡Claro que sí!|¿A qué hora le viene bien?"),
    ("es", "El Dr. Ruiz atiende a las 9.30 a.m. los lunes.|¿Quiere una cita?"),
    ("es", "Son 24,90 €.|¿Paga con tarjeta?"),
    ("es", "Vive en la Avda. Libertad, núm. 5.|Está cerca."),
    ("es", "Tenemos pan, queso, etc.|¿Qué le pongo?"),
    ("es", "Un segundo...|Listo, ya está."),
    ("de", "Gern geschehen.|Kann ich noch etwas tun?"),
    ("de", "Der Termin ist am 3. Mai um 14.30 Uhr.|Passt Ihnen das?"),
    ("de", "Das macht 1.250,00 €.|Zahlen Sie bar?"),
    ("de", "Er sagte: „Bis morgen.“|Dann ging er."),
    ("de", "Nehmen Sie die Tablette d.h. eine halbe.|Trinken Sie viel usw.|Gute Besserung!"),
    ("fr", "Bien sûr !|À quelle heure ?"),
    ("fr", "M. Petit vous attend à 18 h 15.|Mme Roy aussi."),
    ("fr", "Il a dit : « Je reviens. »|Puis il est parti."),
    ("fr", "Cela coûte 7,50 € env. par jour.|C'est tout."),
    ("it", "Certo!|A che ora preferisce?"),
    ("it", "La sig.ra Conti arriva alle 8.45.|Il dott. Riva è già qui."),
    ("it", "Sono 3,5 km a piedi.|Vuole un taxi?"),
    ("pt", "Claro!|Qual é o seu nome?"),
    ("pt", "O Sr. Alves chega às 10.30.|A Dra. Paiva vem depois."),
    ("pt", "Custa R$ 12,90.|Posso confirmar?"),
    ("nl", "Natuurlijk!|Hoe laat komt u?"),
    ("nl", "Dhr. Bakker belt u o.a. over de factuur.|Het bedrag is € 45,50."),
    ("nl", "Dat is bijv. mogelijk op 5 mei.|Schikt dat?"),
    ("hi", "जी हाँ।|आप कब आना चाहेंगे?"),
    ("hi", "डॉ. मेहता कल मिलेंगे।|फ़ीस ₹450.50 है।"),
    ("ar", "بالتأكيد.|متى تريد الموعد؟"),
    ("ar", "السعر 15.75 ريالا.|هل أحجز لك؟"),
    ("zh", "好的。|您想几点来？"),
    ("zh", "总共是12.50元。|“谢谢。”|再见！"),
    ("ja", "はい、わかりました。|何時がよろしいですか？"),
    ("ja", "料金は1.5倍です。|「だめです。」と言われました。|すみません。"),
    ("ko", "네, 알겠습니다.|몇 시에 오시겠어요?"),
    ("pl", "Oczywiście.|Spotkanie jest np. o godz. 9.15.|Pasuje?"),
    ("ru", "Конечно!|Он живёт на ул. Мира, д. 5.|Позвонить ему?"),
    ("sv", "Javisst!|Mötet är kl. 9.30.|Passar det?"),
    ("da", "Selvfølgelig.|Vi ses den 4. maj.|Er det i orden?"),
    ("en", "Got that.|One sec."),
    ("en", "All right then.|Let's begin."),
    ("en", "Your balance is $5.|It was $3.75 yesterday."),
    ("en", "That's 2.5 GB of data.|You have 500 MB left."),
    ("en", "It opened on Dec. 1, 2021.|It closed in 2023."),
    ("en", "Turn left on Oak Ave. then right on 3rd St.|You'll see a church."),
    ("en", "I'll be there by 6 p.m. at the latest.|Don't wait up."),
    ("en", "The train leaves at 5.|Hurry!"),
    ("en", "Take it twice a day, max. 4 tablets.|Call Dr. Yu if it hurts."),
    ("en", "Sec. 4 says so.|Sec. 5 doesn't."),
    ("en", "See Sec. 12 and Art. 9 of the lease.|I can read them out."),
    ("en", "Our fax no. is 555-0199.|We rarely use it."),
    ("en", "Is that a yes or a no?|Please say it again."),
    ("en", "Ask Prof. K. Lindqvist, Ph.D. or her team.|They know."),
    ("en", "We use C++ and C#.|Python as well."),
    ("en", "He said 'no.' and hung up.|Sorry."),
    ("en", 'The sign says "Closed."|Come back at 9.'),
    ("en", 'She whispered, "Go."|I went.'),
    ("en", 'He calls it "the big one".|I don\'t know why.'),
    ("en", 'Did she say "Maybe"?|I think so.'),
    ("en", "I see [see note 3.] what you mean.|Fine."),
    ("en", "Press 1 for sales, 2 for support.|Press 0 to repeat."),
    ("en", "1) Boil water|\n2) Add tea|\n3) Wait 3 min.|\nEnjoy."),
    ("en", "We have three plans:|\n- Basic: $5.99/mo.|\n- Plus: $9.99/mo.|\n- Pro: $19.99/mo."),
    ("en", "Total: 3.|Average: 2.7.|Fine."),
    ("en", "You've got mail.|It's from A. B. Stone."),
    ("en", "He was born c. 1850 in Bath.|He died in 1921."),
    ("en", "Sat. and Sun. are free.|Mon. is full."),
    ("en", "It weighs 12 lbs. and costs $30.|Deal?"),
    ("en", "That is approx. 3 mi. from here.|Take the bus."),
    ("en", "The file is 2.3 MB.|It's in Docs/plan.v2.pdf."),
    ("en", "I'd say so.|Wouldn't you?"),
    ("en", "Well, that's it.|Bye now!"),
    ("en", "The temperature is -3.5°C.|Wear a coat."),
    ("en", "We accept Visa, Amex, etc.|Cash is fine too."),
    ("en", "Next stop: St. Pancras Intl. Station.|Mind the gap."),
    ("en", "He works for the F.B.I. in Quantico.|She doesn't."),
    ("en", "My favourite is No. 5.|What's yours?"),
    ("en", "Contact J. Doe, Sr. Manager, at j.doe@corp.example.com.|He replies fast."),
    ("en", "The ETA is 11:05 p.m. EST.|Safe travels."),
    ("en", "I can't do that, but I can help with billing, refunds, etc.|Which is it?"),
    ("en", "Room 4.12 is free.|Room 4.13 isn't."),
    ("en", "Yes!!!|You won!"),
    ("en", "Really?|I had no idea."),
    ("en", "Sure – one moment.|Okay, I'm back."),
    ("en", "*Note:* bring I.D. to the desk.|Thanks."),
    ("en", "It's in the Mt. Hood area.|Roads may be icy."),
    ("en", "Use the `.env` file.|It holds the key."),
    ("en", "Run `ls -a. && cd ..` there.|Then stop."),
    ("en", "The case Smith v. Jones was settled.|No one paid."),
    ("en", "He's 6 ft. tall.|She's 5 ft. 4 in."),
    ("en", "In Jan. we start.|In Feb. we stop."),
    ("en", "A vs. B is the question.|I pick B."),
    ("en", "It costs 5 € or 5.50 €.|Cash only."),
    ("en", "Flight BA.117 is late.|Flight BA.118 is on time."),
    ("en", "Okay... so what now?|Tell me."),
    ("en", "One moment, please...|Thanks for waiting."),
    ("de", "Die Adresse ist Parkstr. 12 in Köln.|Klingeln Sie bei Lenz."),
    ("de", "Dr. med. Vogt ist im 3. Stock.|Nehmen Sie den Lift."),
    ("de", "Es kostet ca. 2 Mio. Euro.|Das ist viel."),
    ("de", "Heute ist der 1. April.|Kein Scherz!"),
    ("de", "Wir öffnen um 9.|Wir schließen um 18 Uhr."),
    ("de", "Die Nr. 7 ist frei, bzw. die Nr. 8.|Welche nehmen Sie?"),
    ("es", "Viajamos a EE. UU. en mayo.|¿Viene usted?"),
    ("es", "El vuelo sale a las 7 p.m. del martes.|Llegue pronto."),
    ("es", "La Sra. Pardo y el Sr. Gil, p. ej., viven allí.|Son vecinos."),
    ("fr", "J'habite au 5 av. Foch.|C'est près d'ici."),
    ("fr", "Vraiment ?|Je ne savais pas !"),
    ("it", "L'avv. Serra è al n. 10 di via Po.|La aspetta."),
    ("it", "Parto alle 7.|Torno domani."),
    ("pt", "Fica na Av. Brasil, n.º 20.|É perto."),
    ("pt", "São 15.000 pessoas.|É muita gente."),
    ("nl", "Mevr. de Wit is er om 8.30 uur.|Tot dan!"),
    ("nl", "Neem o.a. brood, kaas enz. mee.|Het is ver."),
    ("hi", "मीटिंग 3.30 बजे है।|क्या यह ठीक है?"),
    ("ar", "يبدأ الاجتماع الساعة 9.30 صباحا.|هل يناسبك؟"),
    ("zh", "请拨打10086。|谢谢！"),
    ("zh", "版本是2.0。|已经更新了……|请重启。"),
    ("ja", "3.5キロです。|\n遠いですか？|\nいいえ。"),
    ("ja", "「え？」と彼女は聞いた。|「うん。」"),
    ("ru", "Это стоит 300 руб. в месяц.|Подходит?"),
    ("ru", "Встреча в 2024 г. прошла хорошо.|Спасибо."),
    ("uk", "Добре.|Зачекайте хвилинку..."),
    ("tr", "Tabii ki.|Saat 9.30 uygun mu?"),
    ("el", "Βεβαίως.|Τι ώρα θέλετε;"),
    ("th", "ได้ค่ะ"),
    ("bn", "ঠিক আছে।|কখন আসবেন?"),
]

NEEDS_LANGUAGE: Final = [
    ("de", "1. Mai und 2. Mai sind frei.|Gut."),
    ("el", "Πού είναι;|Εδώ, π.χ. στη γωνία."),
    ("de", "Frau Dr. Weiß kommt z.B. am 2. Advent.|Sie bringt ca. 20 Gäste mit."),
    ("fr", "Le magasin ouvre à 9 h.|Il ferme à 19 h 30."),
    ("de", "Die 3. Etage, bzw. Etage vier.|Gut."),
    ("de", "Es sind 7.|Kann ich helfen?"),
    ("cs", "Otevři doc. Novák."),
    ("en", "Check the doc.|Then call."),
]

NEEDS_RUNS: Final = [
    "What?!|That can't be.",
    "I like React.js and Node.js best.|And you?",
    "Read main.py first.|It's short.",
]

GLUED: Final = {"glued", "wide", "zh", "ja"}  # kinds and languages without white space between sentences


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("kind", "table"), EXACT)
def test_sentences_are_found_again(kind: str, table: str, cut: str) -> None:
    """Joined sentences are cut where they were joined, however the stream is cut."""
    assert cut_as(cut, table, "" if kind in GLUED else " ") == [barred(table)]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("language", "table"), REPLIES)
def test_replies_are_cut_where_sentences_end(language: str, table: str, cut: str) -> None:
    """A reply of any kind is cut rightly, with its language code and without one."""
    assert cut_as(cut, table, "" if language in GLUED else " ", language, None) == [barred(table)] * 2


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("language", "table"), NEEDS_LANGUAGE)
def test_what_only_its_language_tells_is_cut_rightly_with_it(language: str, table: str, cut: str) -> None:
    """Where languages contradict each other the code decides."""
    assert cut_as(cut, table, " ", language) == [barred(table)]


@pytest.mark.parametrize("table", NEEDS_RUNS)
def test_what_a_model_gives_in_one_token_stays_together(table: str) -> None:
    """?! and .js are one token each, so that the mark is not alone when it is judged."""
    assert cut_as("tokens", table) == [barred(table)]
