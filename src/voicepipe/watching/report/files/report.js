// The page: it joins the sound, the lanes and the turns.

const $ = (id) => document.getElementById(id);
const call = JSON.parse($("call").textContent);
const axis = new Axis(call.length);
const sound = new Sound(call.sides, call.rate);
const lanes = new Lanes($("lanes"), axis, call, $("tip"));
const overview = new Overview($("overview"), axis, call);
const shapes = {};
let colours = coloursOf(document.documentElement);
let isDue = false;

function draw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    lanes.draw(shapes, colours, sound.now);
    overview.draw(shapes, colours, sound.now);
    $("now").textContent = clock(sound.now);
  });
}

/** Goes to a time: the playhead, the lanes and the turn. */
function seek(at) {
  const time = Math.max(0, Math.min(call.length, at));
  sound.seek(time);
  axis.reveal(time);
  turns.show(time, $("follow").checked);
  draw();
}

async function play(at) {
  if (at !== undefined) seek(at);
  if (!sound.isThere) return;
  $("sound-error").hidden = true;
  $("play").setAttribute("aria-busy", "true");
  try {
    await sound.play();
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  }
  $("play").removeAttribute("aria-busy");
}

function complain(error) {
  $("sound-error").textContent = `The sound cannot be played: ${error.message}`;
  $("sound-error").hidden = false;
}

const toggle = () => (sound.audio.paused ? play() : sound.audio.pause());
const turns = new Turns($("turns"), call, play);

// --- the head ---

function showHead() {
  $("name").textContent = call.id ? `Call ${call.id}` : call.name;
  const began = new Date(call.began);
  const format = { dateStyle: "long", timeStyle: "short" };
  const when = Number.isNaN(began.getTime()) ? "" : began.toLocaleString("en-GB", format);
  $("about").textContent = [when, clock(call.length, 0), call.reason].filter(Boolean).join(" · ");
  const badges = [
    [call.isCut, "The recording breaks off before the end of the call"],
    [call.isRedacted, "Redacted when it was recorded"],
    [!call.hasContent, "Words left out"],
    [call.hasContent && call.sides.length === 1, `Only the ${call.sides[0]} was recorded`],
    [!call.rate, "Without sound"],
  ];
  $("badges").append(...badges.filter(([is]) => is).map(([, words]) => element("span", "badge", words)));
  $("figures").append(...call.figures.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", "", name), element("dd", "", value));
    return pair;
  }));
  const facts = [["Recording", call.name], ["Session", call.id], ["Parts", call.parts.join(" → ")], ...Object.entries(call.facts)];
  for (const [name, value] of facts) {
    if (!value) continue;
    const pair = element("div");
    const words = typeof value === "string" ? value : JSON.stringify(value);
    pair.append(element("dt", "", name), element("dd", "", words));
    $("facts").append(pair);
    $("rest").hidden = false;
  }
  $("length").textContent = `/ ${clock(call.length)}`;
  $("overview").hidden = !call.sides.length;
  $("sides-label").hidden = call.sides.length < 2 || !sound.isThere;
  $("play").hidden = $("speed-label").hidden = !sound.isThere;
}

// --- what people do ---

$("play").addEventListener("click", toggle);
$("speed").addEventListener("change", (event) => {
  sound.audio.defaultPlaybackRate = sound.audio.playbackRate = Number(event.target.value);
});
$("sides").addEventListener("change", (event) => sound.hear(event.target.value).catch(complain));
$("in").addEventListener("click", () => zoom(0.5));
$("out").addEventListener("click", () => zoom(2));
$("all").addEventListener("click", () => {
  axis.show(0, call.length);
  draw();
});
$("show").addEventListener("change", (event) => showCount(turns.filter(event.target.value)));

function showCount(count) {
  $("shown").textContent = `${count} of ${call.turns.length} turns`;
}

function zoom(factor) {
  const isShown = sound.now >= axis.from && sound.now <= axis.from + axis.span;
  axis.zoom(factor, isShown ? sound.now : undefined);
  draw();
}

/** Goes to the turn before or after the present one. */
function step(by) {
  const at = call.turns.indexOf(turns.at(sound.now));
  const turn = call.turns[Math.max(0, Math.min(call.turns.length - 1, at + by))];
  if (turn) seek(turn.spoke ?? turn.started);
}

const KEYS = {
  " ": toggle,
  ArrowLeft: (event) => seek(sound.now - (event.shiftKey ? 5 : 1)),
  ArrowRight: (event) => seek(sound.now + (event.shiftKey ? 5 : 1)),
  ArrowDown: () => seek(sound.now - 1),
  ArrowUp: () => seek(sound.now + 1),
  Home: () => seek(0),
  End: () => seek(call.length),
  PageUp: () => step(-1),
  PageDown: () => step(1),
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(2),
};

lanes.canvas.addEventListener("keydown", (event) => {
  const act = KEYS[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act(event);
});

let drag = null;
lanes.canvas.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX, from: axis.from, isMoved: false };
  lanes.canvas.setPointerCapture(event.pointerId);
});
lanes.canvas.addEventListener("pointermove", (event) => {
  if (!drag) return lanes.point(event);
  const moved = event.clientX - drag.x;
  drag.isMoved ||= Math.abs(moved) > 4;
  if (!drag.isMoved) return;
  lanes.tip.hidden = true;
  axis.show(drag.from - (moved / axis.width) * axis.span);
  draw();
});
lanes.canvas.addEventListener("pointerup", (event) => {
  const wasMoved = drag?.isMoved;
  drag = null;
  if (wasMoved) return;
  const box = lanes.canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  play(lanes.under(x, y)?.at ?? axis.time(x));
});
lanes.canvas.addEventListener("pointercancel", () => (drag = null));
lanes.canvas.addEventListener("pointerleave", () => (lanes.tip.hidden = true));
lanes.canvas.addEventListener("wheel", (event) => {
  if (event.ctrlKey || event.metaKey) {
    axis.zoom(event.deltaY > 0 ? 1.25 : 0.8, axis.time(event.clientX - lanes.canvas.getBoundingClientRect().left));
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    axis.show(axis.from + ((event.deltaX || event.deltaY) / axis.width) * axis.span);
  } else return;
  event.preventDefault();
  draw();
}, { passive: false });

for (const kind of ["pointerdown", "pointermove"]) {
  overview.canvas.addEventListener(kind, (event) => {
    if (!(event.buttons & 1)) return;
    overview.canvas.setPointerCapture(event.pointerId);
    const box = overview.canvas.getBoundingClientRect();
    axis.show(overview.whole.time(event.clientX - box.left) - axis.span / 2);
    draw();
  });
}

// --- what time does ---

function tick() {
  if (sound.audio.paused) return;
  if ($("follow").checked) axis.reveal(sound.now);
  turns.show(sound.now, $("follow").checked);
  draw();
  requestAnimationFrame(tick);
}

sound.audio.addEventListener("play", () => {
  document.body.classList.add("is-playing");
  $("play").setAttribute("aria-label", "Pause");
  tick();
});
for (const kind of ["pause", "ended"]) {
  sound.audio.addEventListener(kind, () => {
    document.body.classList.remove("is-playing");
    $("play").setAttribute("aria-label", "Play");
    draw();
  });
}

new ResizeObserver(() => {
  lanes.fit();
  draw();
}).observe(lanes.canvas.parentElement);
new ResizeObserver(() => {
  const isSticky = getComputedStyle($("player")).position === "sticky";
  document.documentElement.style.setProperty("--player", `${isSticky ? $("player").offsetHeight + 12 : 12}px`);
}).observe($("player"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colours = coloursOf(document.documentElement);
  draw();
});

async function begin() {
  showHead();
  showCount(call.turns.length);
  lanes.fit();
  draw();
  const drawn = await Promise.all(call.sides.map((side) => unpacked(`shape-${side}`)));
  call.sides.forEach((side, index) => (shapes[side] = new Shape(drawn[index], call.bucket)));
  draw();
  const ready = () => {
    performance.mark("ready");
    document.body.dataset.ready = "yes";
  };
  requestAnimationFrame(() => requestAnimationFrame(ready)); // the second one comes when the first has been painted
}

// Once everything else is done, the sound is made ready, so that it begins with the click.
window.addEventListener("load", () => {
  if (sound.isThere) (window.requestIdleCallback ?? setTimeout)(() => sound.prepare().catch(complain));
});

window.voicepipe = { call, axis, sound, lanes, turns };
begin();
