// The lanes: sound, words, the wait and what each part did for it, one below the other on one axis.

const WIDE = [
  { name: "Caller", kind: "wave", side: "caller", height: 40 },
  { name: "", kind: "asked", height: 16 },
  { name: "Agent", kind: "wave", side: "agent", height: 40 },
  { name: "", kind: "said", height: 16 },
  { name: "Wait", kind: "wait", height: 18 },
  { name: "Model", kind: "model", height: 14 },
  { name: "Tools", kind: "tools", height: 14 },
  { name: "Voice", kind: "voice", height: 14 },
  { name: "Events", kind: "events", height: 14 },
];
const NARROW = [
  { name: "Caller", kind: "wave", side: "caller", height: 34 },
  { name: "Agent", kind: "wave", side: "agent", height: 34 },
  { name: "Wait", kind: "wait", height: 16 },
  { name: "Model", kind: "model", height: 12 },
  { name: "Events", kind: "events", height: 16 },
];
const TICKS = 18;
const GAP = 3;

class Lanes {
  constructor(canvas, axis, call, tip) {
    Object.assign(this, { canvas, axis, call, tip });
    this.hits = []; // what can be pointed at: a box, its words, and the time that a click plays
    this.items = itemsOf(call);
  }

  /** Chooses the lanes for a width, and makes the canvas as high as they are. */
  fit() {
    const width = this.canvas.parentElement.clientWidth;
    const isUsed = ({ side, kind }) => (side ? this.call.sides.includes(side) : this.items[kind].length > 0);
    this.lanes = (width < 640 ? NARROW : WIDE).filter(isUsed);
    this.axis.left = width < 640 ? 0 : 56;
    this.axis.width = Math.max(1, width - this.axis.left);
    const height = TICKS + this.lanes.reduce((sum, lane) => sum + lane.height + GAP, 0);
    this.canvas.style.height = `${height}px`;
  }

  draw(shapes, colours, now) {
    const { context, width, height } = fitted(this.canvas);
    this.context = context;
    this.colours = colours;
    this.hits = [];
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    this.drawTicks(height);
    let top = TICKS;
    for (const lane of this.lanes) {
      if (lane.kind === "wave") this.drawWave(lane, top, shapes);
      else for (const item of this.items[lane.kind]) this.drawItem(item, top, lane.height);
      if (lane.name) this.drawName(lane.name, top, lane.height);
      top += lane.height + GAP;
    }
    const x = this.axis.x(now);
    if (x >= this.axis.left) {
      context.fillStyle = colours.text;
      context.fillRect(x - 0.75, TICKS - 4, 1.5, height - TICKS + 4);
    }
    this.canvas.setAttribute("aria-valuemax", this.axis.length.toFixed(1));
    this.canvas.setAttribute("aria-valuenow", now.toFixed(1));
    this.canvas.setAttribute("aria-valuetext", clock(now));
    return width;
  }

  drawTicks(height) {
    const { context, axis, colours } = this;
    for (const { at, step } of axis.ticks()) {
      const x = axis.x(at);
      context.fillStyle = colours.line;
      context.fillRect(x, TICKS - 4, 1, height);
      context.fillStyle = colours.soft;
      const words = clock(at, step < 1 ? 1 : 0);
      if (x + context.measureText(words).width < axis.left + axis.width) context.fillText(words, x + 3, TICKS / 2 - 1);
    }
  }

  drawName(name, top, height) {
    const { context, axis, colours } = this;
    context.fillStyle = colours.card;
    if (axis.left) context.fillRect(0, top - GAP, axis.left, height + GAP + 1);
    context.fillStyle = colours.soft;
    if (axis.left) context.fillText(name, 0, top + height / 2);
  }

  drawWave(lane, top, shapes) {
    const { axis, colours, context } = this;
    const middle = top + lane.height / 2;
    context.fillStyle = colours.line;
    context.fillRect(axis.left, middle, axis.width, 1);
    shapes[lane.side]?.draw(context, axis, middle, lane.height / 2, colours[lane.side]);
    if (lane.side !== "agent") return;
    for (const [from, until] of this.call.held) {
      const [x, end] = [Math.max(axis.left, axis.x(from)), Math.min(axis.left + axis.width, axis.x(until))];
      if (end <= x) continue;
      context.fillStyle = colours.alert;
      context.globalAlpha = 0.12;
      context.fillRect(x, top, end - x, lane.height);
      context.globalAlpha = 1;
      const words = ["Held back", inMs(until - from)];
      this.hits.push({ x, y: top, width: end - x, height: lane.height, words, at: from });
    }
  }

  drawItem(item, top, height) {
    const { axis, context } = this;
    if (item.at > axis.from + axis.span || item.until < axis.from) return;
    const right = axis.left + axis.width;
    const [exact, end] = [axis.x(item.at), Math.min(right, axis.x(item.until))];
    if (item.shape === "dot") return this.drawDot(item, exact, top, height);
    const x = Math.max(axis.left, exact);
    const width = Math.max(item.shape === "words" ? 0 : 1.5, end - x - (item.shape === "bar" ? 0.75 : 0));
    if (item.shape !== "words") {
      context.fillStyle = this.colours[item.colour] ?? item.colour;
      context.globalAlpha = item.isDropped ? 0.35 : item.alpha ?? 1;
      context.fillRect(x, top, width, height);
      context.globalAlpha = 1;
      if (item.isDropped) this.hatch(x, top, width, height);
    }
    const fits = item.shape === "words" ? width > 26 : width >= context.measureText(item.label ?? "").width + 7;
    if (item.label && fits) this.label(item, x, top, width, height);
    this.hits.push({ x: x - 1, y: top, width: Math.max(width, 6), height, words: item.words, at: item.at });
  }

  drawDot(item, x, top, height) {
    const { axis, context, colours } = this;
    if (x < axis.left || x > axis.left + axis.width) return;
    context.fillStyle = colours[item.colour];
    context.beginPath();
    context.arc(x, top + height / 2, 4, 0, 2 * Math.PI);
    context.fill();
    this.hits.push({ x: x - 7, y: top - 2, width: 14, height: height + 4, words: item.words, at: item.at });
  }

  hatch(x, top, width, height) {
    const { context, colours } = this;
    context.save();
    context.beginPath();
    context.rect(x, top, width, height);
    context.clip();
    context.strokeStyle = colours.soft;
    context.beginPath();
    for (let at = x - height; at < x + width; at += 6) {
      context.moveTo(at, top + height);
      context.lineTo(at + height, top);
    }
    context.stroke();
    context.restore();
  }

  label(item, x, top, width, height) {
    const { context, colours } = this;
    context.save();
    context.beginPath();
    context.rect(x, top, width - 3, height);
    context.clip();
    context.fillStyle = item.shape === "words" || item.isDropped ? colours.text : colours.card;
    context.fillText(item.label, x + 4, top + height / 2 + 0.5);
    context.restore();
  }

  /** What is at a point of the canvas; what was drawn last is on top. */
  under(x, y) {
    return this.hits.findLast((hit) => x >= hit.x && x <= hit.x + hit.width && y >= hit.y && y <= hit.y + hit.height);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const hit = this.under(x, y);
    this.tip.hidden = !hit?.words;
    this.canvas.classList.toggle("can-play", Boolean(hit));
    if (!hit?.words) return;
    const lines = hit.words.filter(Boolean);
    this.tip.replaceChildren(...lines.map((words, index) => element(index ? "span" : "b", "", words)));
    const widest = box.width - this.tip.offsetWidth - 4;
    this.tip.style.left = `${Math.max(0, Math.min(widest, x + 12))}px`;
    this.tip.style.top = `${Math.min(y + 18, box.height + 6)}px`;
  }
}

/** What stands in each lane, in the order of time. */
function itemsOf(call) {
  const items = { asked: [], said: [], wait: [], model: [], tools: [], voice: [], events: [] };
  const colour = { listens: "caller", thinks: "think", speaks: "agent" };
  for (const turn of call.turns) {
    const name = `Turn ${turn.id}`;
    const bar = { shape: "bar", turn: turn.id };
    if (turn.user && turn.spoke !== null) {
      const words = [`${name}: the caller`, turn.user];
      items.asked.push({ shape: "words", turn: turn.id, at: turn.spoke, label: turn.user, words });
    }
    for (const [at, text] of turn.said) {
      items.said.push({ shape: "words", turn: turn.id, at, label: text, words: [`${name}: the agent`, text] });
    }
    for (const [part, at, until] of turn.spans) {
      const words = [call.words[part] ?? part, inMs(until - at), `${name}, of ${inMs(turn.waited ?? 0)}`];
      items.wait.push({ ...bar, at, until, label: words[0], words, colour: colour[call.does[part] ?? "thinks"] });
    }
    turn.requests.forEach((asking) => items.model.push({ ...bar, ...modelItem(asking, name, false) }));
    turn.dropped.forEach((asking) => items.model.push({ ...bar, ...modelItem(asking, name, true) }));
    for (const run of turn.tools) {
      const words = [run.name, `${run.status} after ${inMs(run.until - run.asked)}`, run.arguments];
      const colour = ["failed", "unknown"].includes(run.status) ? "alert" : "think";
      items.tools.push({ ...bar, at: run.asked, until: run.until, label: run.name, words, colour });
    }
    for (const [sentences, isDropped] of [[turn.sentences, false], [turn.droppedSentences, true]]) {
      for (const one of sentences) {
        const words = [isDropped ? "Voice, for a dropped draft" : "Voice", one.text, voiceWords(one)];
        items.voice.push({ ...bar, at: one.asked, until: one.until, words, colour: "agent", isDropped, alpha: 0.75 });
      }
    }
  }
  call.drafts.forEach((asking) => items.model.push({ shape: "bar", ...modelItem(asking, "No turn followed", true) }));
  for (const note of call.notes) {
    const isAlarm = note.who === "trouble" || ["TurnInterrupted", "Paused", "Withheld"].includes(note.kind);
    const colour = isAlarm ? "alert" : note.who;
    const words = [note.text, note.content];
    items.events.push({ shape: "dot", turn: note.turn, at: note.at, until: note.at, words, colour });
  }
  for (const lane of Object.values(items)) lane.sort((one, other) => one.at - other.at);
  for (const lane of [items.asked, items.said]) {
    // Words may go on where nobody else's begin: they are longer on the screen than in the ear.
    lane.forEach((item, index) => (item.until = lane[index + 1]?.at ?? call.length));
  }
  return items;
}

function modelItem(asking, name, isDropped) {
  const first = asking.first === null ? "no token came" : `first token after ${inMs(asking.first - asking.asked)}`;
  const what = isDropped ? "Dropped draft" : `Request ${asking.id} to the model`;
  const words = [what, `${name}: ${first}, ${inMs(asking.until - asking.asked)} in all`, asking.error];
  const label = isDropped ? "draft" : asking.calls.length ? "calls" : "reply";
  return { at: asking.asked, until: asking.until, words, label, colour: asking.error ? "alert" : "think", isDropped };
}

function voiceWords(one) {
  if (one.error) return one.error;
  if (one.first === null) return "no audio came";
  return `first audio after ${inMs(one.first - one.asked)}, ${one.audio.toFixed(1)} s of it`;
}
