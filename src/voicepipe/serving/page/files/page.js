// The page: it joins the call, the sound and what is shown.

import { Call } from "./call.js";
import { NoMicrophone, Sound, devices } from "./sound.js";
import { Conversation, Strip, showWaterfall } from "./views.js";
import { WebRTCCall } from "./webrtc.js";

const $ = (id) => document.getElementById(id);
const conversation = new Conversation($("conversation"), $("scroll"));
const strip = new Strip($("strip"));

/** What the page is doing. Engineers and tests read it in the console as `voicepipe`. */
const page = {
  call: null,
  lock: null, // that the screen stays on
  sound: null,
  isMuted: false,
  isHeld: false,
  isStarting: false,
  chosen: { microphone: "", loudspeaker: "" }, // ids of devices; "" for the default
  level: 0,
  doing: "", // what the agent is doing: a key of DOING
  isCallerSpeaking: false,
  turn: 0, // the newest one
  played: { samples: 0, dryRuns: 0, bufferS: 0 },
  clears: [], // when the newest ones came and the sound was off, in ms of performance.now()
};
window.voicepipe = page;

// --- words for states ------------------------------------------------------------------------------------------------

// What the agent is doing is shown and not announced: a screen reader would speak into the microphone, over the agent.
const DOING = { listening: "Listening", hearing: "Hearing you", thinking: "Thinking", speaking: "Speaking" };

const BRIEF_MS = 500; // a loss that is over sooner is shown and not announced: the agent may speak again

/** What a caller has to know about the call itself. */
function callWords() {
  const { call, sound } = page;
  if (page.isStarting) return "Waiting for the microphone";
  if (!call || call.state === "new") return "Ready to call";
  if (call.state === "connecting") return "Connecting";
  if (call.isResuming) return "Reconnecting";
  if (call.state === "lost" && call.counts.connections === 0) return "The server does not answer. Trying again";
  if (call.state === "lost") return "Connection lost. Calling again";
  if (call.state === "ended") return "The call has ended";
  if (sound.isStopped) return "The browser has stopped the sound. Tap anywhere to go on";
  if (page.isHeld) return "On hold";
  if (page.isMuted) return "Your microphone is muted";
  return "Connected";
}

function show() {
  const state = page.isStarting ? "connecting" : (page.call?.state ?? "new");
  const isRunning = page.isStarting || ["connecting", "live", "lost"].includes(state);
  const isLive = state === "live";
  const isInCall = isLive || Boolean(page.call?.isResuming); // a caller need not notice a short loss
  document.body.dataset.state = state;
  document.body.classList.toggle("is-running", isRunning);
  document.body.dataset.doing = isLive && !page.isHeld ? page.doing : "";
  const words = callWords();
  const isBrief = page.call?.isResuming && performance.now() - page.call.lostAt < BRIEF_MS;
  if ($("announced").textContent !== words && !isBrief) $("announced").textContent = words;
  $("status").textContent = words === "Connected" ? (DOING[page.doing] ?? words) : words;
  $("call-name").textContent = isRunning ? "Hang up" : state === "ended" ? "Call again" : "Start the call";
  $("type-only").hidden = isRunning;
  $("mute").disabled = $("hold").disabled = $("words").disabled = !isInCall;
  $("mute").hidden = isInCall && !page.sound?.microphone;
  $("stop").disabled = $("send").disabled = !isLive;
  $("mute").setAttribute("aria-pressed", String(page.isMuted));
  $("hold").setAttribute("aria-pressed", String(page.isHeld));
}

function complain(words) {
  $("error").textContent = words;
  $("error").hidden = !words;
}

// --- the call --------------------------------------------------------------------------------------------------------

async function start(withMicrophone) {
  complain("");
  const sound = new Sound(Number(document.body.dataset.rate)); // in the click, before anything is awaited
  const usesWebRTC = new URLSearchParams(location.search).get("path") === "webrtc";
  const call = usesWebRTC ? new WebRTCCall(document.baseURI, sound) : new Call(document.baseURI);
  Object.assign(page, { sound, call, isMuted: false, isHeld: false, doing: "", level: 0, isStarting: true });
  sound.addEventListener("state", show);
  call.addEventListener("state", () => callChanged(call));
  call.addEventListener("audio", ({ detail }) => sound.loudspeaker?.play(detail));
  call.addEventListener("message", ({ detail }) => take(detail));
  show();
  try {
    await sound.load();
    if (withMicrophone) await openMicrophone(page.chosen.microphone);
    await useLoudspeaker();
  } catch (error) {
    if (page.call === call) giveUp(error);
    return;
  }
  if (page.call !== call) return; // the caller has hung up meanwhile
  page.isStarting = false;
  call.start(sound.microphone?.capture ?? null);
  requestAnimationFrame(draw);
}

async function openMicrophone(deviceId) {
  const { sound } = page;
  const handlers = {
    onframe: ({ pcm, level }) => {
      page.level = level;
      strip.caller(level);
      page.call?.sendAudio(pcm);
    },
    onlost: microphoneLost,
  };
  const microphone = await sound.openMicrophone(deviceId, handlers);
  if (page.sound !== sound) {
    microphone.close();
    return;
  }
  microphone.isMuted = page.isMuted || page.isHeld;
  page.chosen.microphone = deviceId;
  await listDevices();
}

function giveUp(error) {
  page.sound.close();
  Object.assign(page, { sound: null, call: null, isStarting: false });
  page.chosen.microphone = ""; // it may be the one that cannot be opened
  complain(error instanceof NoMicrophone ? error.message : `The sound cannot be opened: ${error.message}`);
  show();
  $("call").focus();
}

function microphoneLost() {
  complain("The microphone was disconnected. Choose another one under Sound, or type.");
  page.call?.send({ type: "microphone_lost" });
  listDevices();
}

function callChanged(call) {
  if (page.call !== call) return;
  keepAwake(call.isLive);
  if (call.isLive && call.counts.connections === 1 && !page.sound.microphone) {
    requestAnimationFrame(() => $("words").focus());
  }
  if (call.state === "lost") {
    page.sound.loudspeaker?.close(); // what has not been played is said again
    page.sound.loudspeaker = null;
    conversation.settle();
    setTimeout(show, BRIEF_MS + 10);
  } else if (call.state === "ended") {
    if (call.reason) complain(call.reason);
    page.sound.close();
    conversation.settle();
    page.level = 0;
  }
  show();
}

/** Keeps a phone from locking its screen, which would end the call. */
async function keepAwake(isOn) {
  const lock = page.lock;
  page.lock = isOn ? navigator.wakeLock?.request("screen").catch(() => null) : null;
  (await lock)?.release();
}

function hangUp() {
  if (!page.isStarting) {
    page.call.hangUp();
    return;
  }
  page.sound.close();
  Object.assign(page, { sound: null, call: null, isStarting: false });
  show();
}

// --- what the server says --------------------------------------------------------------------------------------------

function take(message) {
  const act = ON[message.type];
  if (act) act(message);
  show();
}

const ON = {
  ready: ({ rate_out: rate, resumed }) => {
    page.doing = "listening";
    page.isCallerSpeaking = false;
    page.turn = 0;
    page.played = { samples: 0, dryRuns: 0, bufferS: 0 };
    complain("");
    if (resumed) conversation.resume();
    else if (page.call.counts.connections === 1) conversation.begin("A new call");
    else conversation.begin("The connection was lost. This is a new conversation.");
    const handlers = { onplayed, oncleared };
    if (page.call.openLoudspeaker) page.call.openLoudspeaker(handlers);
    else page.sound.openLoudspeaker(rate, handlers);
    muteOrNot();
  },
  clear: ({ id }) => {
    page.clears.push({ id, at: performance.now(), silentAfterMs: null });
    page.clears.splice(0, page.clears.length - 50);
    page.sound.loudspeaker?.clear(id);
  },
  speech_started: () => {
    page.isCallerSpeaking = true;
    if (page.doing === "listening") page.doing = "hearing";
  },
  speech_ended: () => {
    page.isCallerSpeaking = false;
    if (page.doing === "hearing") page.doing = "listening";
  },
  transcript: ({ text, final }) => conversation.callerSays(text, final),
  turn_started: ({ turn }) => {
    page.turn = turn;
    page.doing = "thinking";
  },
  sentence: ({ turn, text }) => {
    page.doing = "speaking";
    conversation.agentSays(turn, text);
  },
  utterance_ended: () => page.sound.loudspeaker?.complete(),
  paused: () => {
    page.doing = "hearing";
    strip.cut();
  },
  resumed: () => (page.doing = "speaking"),
  tool: (message) => conversation.tool(message),
  turn_ended: (turn) => {
    // A turn that was interrupted may end when the next one has begun.
    if (turn.turn === page.turn) page.doing = page.isCallerSpeaking ? "hearing" : "listening";
    if (turn.outcome === "interrupted") strip.cut();
    conversation.turnEnded(turn);
    showWaterfall($("waterfall"), $("waited"), $("waited-note"), turn);
  },
};

function onplayed(played) {
  page.played = played;
  page.call.send({ type: "played", samples: played.samples });
}

function oncleared({ id, samples }) {
  const clear = page.clears.find((one) => one.id === id && one.silentAfterMs === null);
  if (clear) clear.silentAfterMs = performance.now() - clear.at;
  page.call.send({ type: "cleared", id, samples });
}

// --- what the caller does --------------------------------------------------------------------------------------------

function muteOrNot() {
  if (page.sound?.microphone) page.sound.microphone.isMuted = page.isMuted || page.isHeld;
}

$("call").addEventListener("click", () => {
  const isRunning = page.isStarting || ["connecting", "live", "lost"].includes(page.call?.state);
  if (isRunning) hangUp();
  else start(true);
});
$("type-only").addEventListener("click", () => {
  start(false);
  $("call").focus();
});
$("mute").addEventListener("click", () => {
  page.isMuted = !page.isMuted;
  muteOrNot();
  show();
});
$("hold").addEventListener("click", () => {
  page.isHeld = !page.isHeld;
  if (page.isHeld) page.call.send({ type: "interrupt" });
  muteOrNot();
  show();
});
const stop = () => page.call?.send({ type: "interrupt" });
$("stop").addEventListener("click", stop);
const wake = () => page.call?.isLive && page.sound.isStopped && page.sound.resume().then(show);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  wake();
});
document.addEventListener("pointerdown", wake);
$("type").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("words").value.trim();
  if (!/[\p{L}\p{N}]/u.test(text)) return;
  if (!page.call.isLive) return; // the words stay in the field until the call goes on
  page.call.send({ type: "text", text });
  $("words").value = "";
});

// --- devices ---------------------------------------------------------------------------------------------------------

async function listDevices() {
  const { microphones, loudspeakers } = await devices();
  fill($("microphones"), microphones, page.sound?.microphone?.deviceId ?? page.chosen.microphone);
  fill($("loudspeakers"), loudspeakers, page.chosen.loudspeaker);
  const canChoose = "setSinkId" in AudioContext.prototype && loudspeakers.length > 0;
  $("loudspeakers").hidden = $("loudspeakers-label").hidden = !canChoose;
}

function fill(select, all, chosen) {
  const options = all.map(({ deviceId, label }) => new Option(label, deviceId, false, deviceId === chosen));
  select.replaceChildren(...(options.length > 0 ? options : [new Option("Default", "")]));
  select.disabled = options.length === 0;
}

async function useLoudspeaker() {
  if (!page.chosen.loudspeaker || !page.sound) return;
  try {
    await page.sound.context.setSinkId(page.chosen.loudspeaker);
  } catch (error) {
    page.chosen.loudspeaker = "";
    complain(`This loudspeaker cannot be used (${error.name}), so the default one is.`);
  }
}

$("microphones").addEventListener("change", async ({ target }) => {
  if (!page.call?.isLive) {
    page.chosen.microphone = target.value;
    return;
  }
  try {
    await openMicrophone(target.value);
    complain("");
  } catch (error) {
    complain(error.message);
  }
});
$("loudspeakers").addEventListener("change", ({ target }) => {
  page.chosen.loudspeaker = target.value;
  if (page.call?.isLive) useLoudspeaker();
});
navigator.mediaDevices?.addEventListener("devicechange", listDevices);

// --- what moves ------------------------------------------------------------------------------------------------------

let figuresAt = 0;

function draw(now) {
  const { call, sound } = page;
  if (!call || call.state === "ended") return;
  const isAudible = !page.isMuted && !page.isHeld;
  if (sound.loudspeaker) strip.agent(sound.loudspeaker.level);
  strip.tick(now);
  $("level").firstElementChild.style.setProperty("--level", isAudible ? Math.min(1, page.level * 4) : 0);
  if (now - figuresAt > 500) {
    figuresAt = now;
    showFigures(call, sound);
  }
  requestAnimationFrame(draw);
}

function showFigures(call, sound) {
  const capture = sound.microphone?.capture;
  const inMs = (seconds) => `${Math.round(seconds * 1000)} ms`;
  $("level").setAttribute("aria-valuenow", String(Math.round(Math.min(1, page.level * 4) * 100)));
  $("echo").textContent = { true: "on", false: "off", null: "unknown" }[capture?.echo_cancellation] ?? "–";
  $("latency").textContent = sound.loudspeaker ? inMs(sound.loudspeaker.latency) : "–";
  $("buffer").textContent = page.played.bufferS ? `${inMs(page.played.bufferS)}, ${page.played.dryRuns} dry` : "–";
  $("network").textContent = call.roundTripMs === null ? "–" : `${Math.round(call.roundTripMs)} ms`;
  $("dropped").textContent = String(call.counts.framesDropped);
}

show();
