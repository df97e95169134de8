// The conversation as a list of turns: its words, its wait, and what was behind it.
//
// Rule 1: the turns of the first screen are there at once, and the others follow while nothing else is to be done.
// Rule 2: what is folded is made when it is unfolded: most of a long call is never looked at.

const OUTCOMES = {
  completed: "",
  interrupted: "Interrupted",
  joined: "Joined with the next turn",
  failed: "Failed",
  empty: "Nothing to say",
  open: "Not over when the recording ends",
};

const FIRST = 12;
const AT_A_TIME_MS = 8;

class Turns {
  constructor(list, call, play) {
    Object.assign(this, { list, call, play });
    this.cards = new Map(call.turns.map((turn) => [turn.id, this.card(turn)]));
    call.turns.slice(0, FIRST).forEach((turn) => this.fill(turn));
    list.replaceChildren(...this.cards.values());
    this.now = null;
    setTimeout(() => this.fillRest(FIRST));
  }

  /** Fills the cards from one on, for a few milliseconds at a time. */
  fillRest(next) {
    const until = performance.now() + AT_A_TIME_MS;
    while (next < this.call.turns.length && performance.now() < until) this.fill(this.call.turns[next++]);
    if (next < this.call.turns.length) setTimeout(() => this.fillRest(next));
  }

  /** The turn that a time belongs to: the last one that had begun by then. */
  at(seconds) {
    const begun = this.call.turns.filter((turn) => (turn.spoke ?? turn.started) <= seconds + 0.001);
    return begun.at(-1) ?? null;
  }

  /** Marks the turn of a time, and brings it into view. */
  show(seconds, follows) {
    const turn = this.at(seconds);
    if (turn === this.now) return;
    this.now = turn;
    for (const [id, card] of this.cards) card.classList.toggle("is-now", id === turn?.id);
    if (turn) this.fill(turn);
    if (turn && follows) this.cards.get(turn.id).scrollIntoView({ block: "nearest", behavior: calm() });
  }

  filter(wanted) {
    const waits = this.call.turns.map((turn) => turn.waited).filter((waited) => waited !== null);
    const slow = [...waits].sort((one, other) => one - other)[Math.ceil(waits.length * 0.9) - 1] ?? Infinity;
    const cut = (note) => ["Paused", "Withheld", "TurnInterrupted"].includes(note.kind);
    const has = {
      all: () => true,
      slow: (turn) => turn.waited !== null && turn.waited >= slow,
      cut: (turn) => this.notesOf(turn).some(cut),
      tools: (turn) => turn.tools.length > 0,
      trouble: (turn) => {
        const notes = this.notesOf(turn).filter((note) => note.who === "trouble");
        return turn.error !== "" || notes.length > 0 || turn.tools.some((run) => run.status !== "done");
      },
    }[wanted];
    let count = 0;
    for (const turn of this.call.turns) {
      this.cards.get(turn.id).hidden = !has(turn);
      count += has(turn);
    }
    return count;
  }

  notesOf(turn) {
    return this.call.notes.filter((note) => note.turn === turn.id);
  }

  card(turn) {
    const card = element("li", "turn");
    card.id = `turn-${turn.id}`;
    card.dataset.outcome = turn.outcome;
    return card;
  }

  fill(turn) {
    const card = this.cards.get(turn.id);
    if (card.childElementCount) return;
    const head = element("div", "head");
    head.append(element("h3", "", `Turn ${turn.id}`));
    if (!turn.user && !turn.said.length) head.append(this.moment(turn.started, "from"));
    const outcome = OUTCOMES[turn.outcome] ?? turn.outcome;
    const by = turn.outcome === "interrupted" && turn.by ? ` by ${turn.by}` : "";
    if (outcome) head.append(element("span", `badge ${turn.outcome}`, outcome + by));
    if (turn.answered !== null) {
      head.append(element("span", "soft", `filler, and the answer after ${inMs(turn.answered)}`));
    }
    if (turn.waited !== null) head.append(element("span", "waited", inMs(turn.waited)));
    const body = element("div", "body");
    body.append(this.words(turn));
    if (turn.spans.length) body.append(this.waterfall(turn));
    card.append(head, body);
    const folds = element("div", "folds");
    const requests = [...turn.dropped.map((one) => [one, true]), ...turn.requests.map((one) => [one, false])];
    const asked = () => requests.map(([one, dropped]) => this.request(one, dropped));
    for (const [title, count, make] of [
      ["What the model was sent", requests.length, asked],
      ["Marks", turn.marks.length, () => [this.marks(turn)]],
      ["What the voice was given", turn.sentences.length, () => [this.sentences(turn)]],
    ]) {
      if (count) folds.append(this.fold(title, count, make));
    }
    card.append(folds);
  }

  /** A button that plays a moment. */
  moment(at, what) {
    const button = element("button", "moment", clock(at));
    button.type = "button";
    button.setAttribute("aria-label", `Play ${what} ${clock(at)}`);
    button.addEventListener("click", () => this.play(at));
    return button;
  }

  said(name, at, ...pieces) {
    const row = element("p", `said ${name}`);
    const who = element("span", "who", name === "caller" ? "Caller" : "Agent");
    const words = element("span", "words");
    words.append(...pieces);
    row.append(who, words);
    if (at !== null && at !== undefined) row.append(this.moment(at, `what the ${name} said at`));
    return row;
  }

  words(turn) {
    const box = element("div", "what");
    const rows = [];
    const spoke = turn.spoke ?? turn.started;
    if (turn.user) rows.push([spoke, this.said("caller", spoke, turn.user)]);
    for (const run of turn.tools) rows.push([run.asked, this.tool(run)]);
    for (const note of this.notesOf(turn)) rows.push([note.at, this.note(note)]);
    if (turn.heard || turn.unheard) {
      const pieces = [turn.heard];
      if (turn.unheard) {
        const unheard = element("span", "unheard", `${turn.heard ? " " : ""}${turn.unheard}`);
        unheard.title = "Generated, and not heard";
        pieces.push(unheard);
      }
      rows.push([turn.said[0]?.[0] ?? turn.ended, this.said("agent", turn.said[0]?.[0], ...pieces)]);
    }
    if (turn.dropped.length) {
      const count = turn.dropped.length > 1 ? `${turn.dropped.length} drafts were` : "A draft was";
      rows.push([turn.dropped[0].asked, element("p", "note", `${count} dropped: the caller went on`)]);
    }
    rows.sort((one, other) => one[0] - other[0]);
    box.append(...rows.map(([, row]) => row));
    return box;
  }

  note(note) {
    const row = element("p", `note ${note.who}`);
    row.append(this.moment(note.at, "from"), element("span", "", note.text));
    if (note.content) row.append(element("span", "content", note.content));
    return row;
  }

  tool(run) {
    const row = element("div", "tool");
    row.dataset.status = run.status;
    const line = element("p");
    const took = element("span", "soft", `${run.status}, ${inMs(run.until - run.asked)}`);
    line.append(this.moment(run.asked, "from the tool call at"), element("b", "", run.name), took);
    row.append(line);
    if (run.arguments && run.arguments !== "{}") row.append(element("code", "", run.arguments));
    if (run.result) row.append(element("code", "result", run.result));
    return row;
  }

  waterfall(turn) {
    const list = element("ol", "waterfall");
    list.setAttribute("aria-label", "What the wait was spent on");
    const start = turn.spans[0][1];
    const whole = turn.spans.at(-1)[2] - start || 1;
    for (const [name, from, until] of turn.spans) {
      if (until - from < 0.0005) continue;
      const item = element("li", this.call.does[name] ?? "thinks");
      const bar = element("span", "stretch");
      bar.style.setProperty("--from", (from - start) / whole);
      bar.style.setProperty("--share", (until - from) / whole);
      item.append(element("span", "part", this.call.words[name] ?? name), bar, element("span", "took", inMs(until - from)));
      list.append(item);
    }
    return list;
  }

  // --- what is folded ---

  fold(title, count, make) {
    const fold = element("details");
    const summary = element("summary", "", title);
    summary.append(element("span", "soft", ` ${count}`));
    fold.append(summary);
    fold.addEventListener("toggle", () => {
      if (fold.open && fold.childElementCount === 1) fold.append(...make());
    });
    return fold;
  }

  request(asking, isDropped) {
    const box = element("div", "request");
    const took = asking.first === null ? "no token" : `first token after ${inMs(asking.first - asking.asked)}`;
    const ends = asking.error || (asking.isCancelled ? "cancelled" : asking.finish);
    const head = element("p", "line");
    const name = `${isDropped ? "Dropped draft, request" : "Request"} ${asking.id}`;
    const facts = [took, `${inMs(asking.until - asking.asked)} in all`, ends].filter(Boolean).join(" · ");
    head.append(element("b", "", name), this.moment(asking.asked, "from"), element("span", "soft", facts));
    const list = element("ol", "messages");
    if (asking.system) list.append(this.message("system", asking.system));
    for (const number of asking.messages) list.append(...this.messages(this.call.messages[number]));
    box.append(head, list);
    if (asking.tools.length) box.append(element("p", "soft", `Tools: ${asking.tools.join(", ")}`));
    const reply = element("ol", "messages reply");
    if (asking.text) reply.append(this.message("reply", asking.text));
    for (const [name, given] of asking.calls) reply.append(this.message("calls", `${name}(${given})`));
    if (reply.childElementCount) box.append(reply);
    return box;
  }

  messages(message) {
    if (message.type === "UserMessage") return [this.message("caller", message.text)];
    const shown = message.is_settled ? message.heard : message.generated || message.heard;
    const calls = (message.calls ?? []).flatMap((call) => [
      this.message("calls", `${call.name}(${call.arguments})`),
      this.message("result", call.result),
    ]);
    return [...(shown ? [this.message("agent", shown)] : []), ...calls];
  }

  message(role, text) {
    const item = element("li", role);
    item.append(element("span", "role", role), element("span", "text", text ?? ""));
    return item;
  }

  marks(turn) {
    const list = element("dl", "marks");
    const start = turn.marks.find(([name]) => name === "speech_ended")?.[1] ?? turn.marks[0][1];
    for (const [name, at] of turn.marks) {
      const row = element("div");
      const value = element("dd", "", `${at >= start ? "+" : "−"}${inMs(Math.abs(at - start))}`);
      row.append(element("dt", "", name), value, this.moment(at, name));
      list.append(row);
    }
    return list;
  }

  sentences(turn) {
    const list = element("ol", "messages");
    for (const one of turn.sentences) list.append(this.message(one.voice || "voice", `${one.text} (${voiceWords(one)})`));
    return list;
  }
}

/** Whether the page may move by itself. */
const calm = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");
