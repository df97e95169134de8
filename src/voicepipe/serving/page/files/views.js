// What the page draws: the strip of both voices, the waterfall of a turn, and the conversation.
//
// Rule 1: words of the caller, the agent and the server are set as text, never as markup.

const STRIP_S = 8;
const BAR_MS = 50;
const GAIN = 4; // speech has an effective value of 0.05 to 0.25

/** The loudness of both voices over the last seconds: the caller upwards, the agent downwards. */
export class Strip {
  constructor(canvas) {
    this.canvas = canvas;
    this.bars = new Array(Math.round((STRIP_S * 1000) / BAR_MS)).fill({ caller: 0, agent: 0, cut: false });
    this.now = { caller: 0, agent: 0, cut: false };
    this.lastBar = 0;
    new ResizeObserver(() => this.fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.fit());
    this.fit();
  }

  fit() {
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    const style = getComputedStyle(this.canvas);
    const color = (name) => style.getPropertyValue(name).trim();
    this.colors = { caller: color("--caller"), agent: color("--agent"), quiet: color("--line"), cut: color("--alert") };
    this.draw();
  }

  caller(level) {
    this.now.caller = Math.max(this.now.caller, level);
  }

  agent(level) {
    this.now.agent = Math.max(this.now.agent, level);
  }

  /** Marks the moment at which the agent was cut off. */
  cut() {
    this.now.cut = true;
  }

  tick(now) {
    if (now - this.lastBar < BAR_MS) return;
    this.lastBar = now;
    this.bars.shift();
    this.bars.push(this.now);
    this.now = { caller: 0, agent: 0, cut: false };
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    const pitch = width / this.bars.length;
    const bar = Math.max(1, pitch * 0.6);
    const middle = height / 2;
    context.clearRect(0, 0, width, height);
    this.bars.forEach(({ caller, agent, cut }, index) => {
      const x = index * pitch;
      context.fillStyle = this.colors.quiet;
      context.fillRect(x, middle - 0.5 * devicePixelRatio, bar, devicePixelRatio);
      for (const [level, direction, name] of [[caller, -1, "caller"], [agent, 1, "agent"]]) {
        const length = Math.min(1, level * GAIN) * (middle - 2);
        if (length < 1) continue;
        context.fillStyle = this.colors[name];
        context.fillRect(x, direction < 0 ? middle - length : middle, bar, length);
      }
      if (cut) {
        context.fillStyle = this.colors.cut;
        context.fillRect(x, 0, Math.max(1, devicePixelRatio), height);
      }
    });
  }
}

/** What the parts of a caller's wait are called on the page, and what the agent does in each. */
const SPENT = {
  speech: ["Speech", "listens"],
  silence: ["Silence", "listens"],
  stt: ["Recogniser", "listens"],
  patience: ["Patience", "listens"],
  turn: ["Turn", "thinks"],
  request: ["Request", "thinks"],
  llm: ["Model", "thinks"],
  tools: ["Tools", "thinks"],
  sentence: ["Sentence", "thinks"],
  tts: ["Voice", "speaks"],
  withheld: ["Withheld", "speaks"],
  filler: ["Filler", "speaks"],
  output: ["Output", "speaks"],
  lead_in: ["Lead-in", "speaks"],
};

const inMs = (seconds) => `${Math.round(seconds * 1000)} ms`;

/** Shows where the time of a turn went, a bar for each part of the wait. */
export function showWaterfall(list, total, note, turn) {
  if (turn.waited_s === null) return;
  total.textContent = inMs(turn.waited_s);
  note.textContent = "from your last word to the agent’s first sound";
  let before = 0;
  const rows = Object.entries(turn.spent_s)
    .map(([name, seconds]) => {
      const row = { name, seconds, from: before };
      before += seconds;
      return row;
    })
    .filter(({ seconds }) => seconds >= 0.001)
    .map(({ name, seconds, from }) => {
      const [words, doing] = SPENT[name] ?? [name.replace(/^stage:/, ""), "thinks"];
      const item = element("li", `part ${doing}`);
      const bar = element("span", "bar");
      bar.style.setProperty("--from", from / turn.waited_s);
      bar.style.setProperty("--share", seconds / turn.waited_s);
      item.append(element("span", "part-name", words), bar, element("span", "part-time", inMs(seconds)));
      return item;
    });
  list.replaceChildren(...rows);
}

export function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

/** The conversation as a list of what was said. */
export class Conversation {
  constructor(list, scroll) {
    this.list = list;
    this.scroll = scroll;
    this.isAtEnd = true;
    scroll.addEventListener("scroll", () => {
      this.isAtEnd = scroll.scrollTop + scroll.clientHeight > scroll.scrollHeight - 40;
    });
    new ResizeObserver(() => this.follow()).observe(scroll);
    this.early = null; // the caller's words that may still change
    this.turns = new Map(); // the agent's words by turn
    this.tools = new Map();
    this.lost = null; // the agent's words that a lost connection has cut
  }

  /** Forgets which turns are which: a new call counts them from 1. The words stay. */
  begin(note) {
    this.settle();
    this.turns.clear();
    this.tools.clear();
    this.lost = null;
    if (note && this.list.childElementCount > 0) this.note(note);
  }

  /** Goes on after a lost connection: what the agent was saying is said again from the sentence that was cut. */
  resume() {
    this.settle();
    this.lost = [...this.turns.values()].at(-1) ?? null;
    this.turns.clear();
    for (const shown of this.tools.values()) {
      if (shown.dataset.state === "started") this.showTool(shown, shown.dataset.name, "lost");
    }
    this.tools.clear();
  }

  callerSays(text, isFinal) {
    this.early ??= this.add("caller", "You");
    this.early.words.textContent = text;
    this.early.item.classList.toggle("early", !isFinal);
    if (isFinal) this.early = null;
    this.follow();
  }

  /** Takes back words that were never made final. */
  settle() {
    this.early?.item.remove();
    this.early = null;
  }

  agentSays(turn, sentence) {
    const said = this.turns.get(turn) ?? this.goOn(sentence) ?? this.add("agent", "Agent");
    this.turns.set(turn, said);
    const words = said.words.textContent;
    said.words.textContent = words ? `${words} ${sentence}` : sentence;
    this.follow();
  }

  /** Returns what the connection cut, up to the sentence that is said again; null if the agent says something else. */
  goOn(sentence) {
    const said = this.lost;
    this.lost = null;
    const words = said?.words.textContent ?? "";
    const at = words.lastIndexOf(sentence);
    if (at < 0) return null;
    said.words.textContent = words.slice(0, at).trim();
    return said;
  }

  turnEnded({ turn, outcome, heard, joined }) {
    const said = this.turns.get(turn);
    if (outcome === "failed") this.note("The agent could not answer. Please try again.");
    if (!said) return;
    if (joined && !heard) said.item.remove();
    else if (outcome === "interrupted") this.cut(said, heard);
    this.turns.delete(turn);
  }

  /** Shows which words were heard, and which were not. */
  cut(said, heard) {
    const all = said.words.textContent;
    const rest = all.startsWith(heard) ? all.slice(heard.length) : "";
    said.words.replaceChildren(element("span", "heard", rest ? heard : all));
    if (rest) said.words.append(element("s", "unheard", rest));
    said.item.append(element("p", "mark", rest ? "Interrupted: the grey words were not heard" : "Interrupted"));
    this.follow();
  }

  tool({ call, name, state }) {
    const shown = this.tools.get(call) ?? this.note("", "tool");
    this.tools.set(call, shown);
    this.showTool(shown, name, state);
  }

  showTool(shown, name, state) {
    const words = {
      started: "is running",
      done: "is done",
      failed: "has failed",
      unconfirmed: "asks first",
      lost: "was running when the connection was lost",
    };
    shown.replaceChildren(element("code", "", name), ` ${words[state] ?? state}`);
    Object.assign(shown.dataset, { state, name });
  }

  note(text, name = "note") {
    const item = element("li", name, text);
    this.list.append(item);
    this.follow();
    return item;
  }

  add(speaker, label) {
    const item = element("li", `said ${speaker}`);
    const words = element("p", "words");
    item.append(element("p", "who", label), words);
    this.list.append(item);
    return { item, words };
  }

  /** Shows the newest words, unless the caller has scrolled up to read. */
  follow() {
    if (this.isAtEnd) this.scroll.scrollTop = this.scroll.scrollHeight;
  }
}
