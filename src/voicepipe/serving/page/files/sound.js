// The page's ears and mouth: a microphone and a loudspeaker, each with a worklet, in one audio context.
//
// Rule 1: the context is made and resumed in the click that starts the call, before anything is awaited: on phones one
//         that is made later may never run.
// Rule 2: it runs at the rate of the agent's voice where the browser allows that, or at a multiple that is enough for the
//         microphone; the worklets resample the rest. There is one context only: with two of different rates and a
//         microphone, Firefox 153 hung in one call of three.

const LEAST_RATE = 16000;
const LATENCY_EVERY_MS = 2000;
const FADED_MS = 100; // by then the playback worklet has faded

/** Why there is no microphone, in words for the caller. */
export class NoMicrophone extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const REASONS = {
  NotAllowedError: [
    "denied",
    "This page may not use the microphone. Allow it in the browser’s address bar, then start again.",
  ],
  NotFoundError: ["none", "No microphone was found. Connect one, then start again."],
  NotReadableError: [
    "busy",
    "The microphone is in use by another program or does not answer. Close that program, then start again.",
  ],
  OverconstrainedError: ["gone", "The chosen microphone is no longer there. Start again to use another one."],
};

function reasonFor(error) {
  const [kind, message] = REASONS[error.name] ?? ["failed", `The microphone cannot be opened (${error.name}).`];
  return new NoMicrophone(kind, message);
}

function contextAt(rate) {
  // Without latencyHint: "interactive" is the default, and given without a rate it hangs Firefox 153.
  try {
    return new AudioContext({ sampleRate: rate * Math.ceil(LEAST_RATE / rate) });
  } catch {
    return new AudioContext();
  }
}

/** The sound of a call. Made in the click that starts it. */
export class Sound extends EventTarget {
  constructor(rate) {
    super();
    this.context = contextAt(rate);
    this.context.resume();
    this.context.onstatechange = () => this.dispatchEvent(new Event("state"));
    this.microphone = null;
    this.loudspeaker = null;
  }

  /** Whether the browser has stopped the sound, as phones do during a call; only a tap of the caller helps. */
  get isStopped() {
    return !["running", "closed"].includes(this.context.state);
  }

  resume() {
    return this.context.resume();
  }

  /** Loads the worklets; comes before anything is opened. */
  async load() {
    if (!this.context.audioWorklet || !navigator.mediaDevices?.getUserMedia) {
      throw new NoMicrophone(
        "insecure",
        "Browsers give a microphone only to secure pages. Open this page at an https address, or at localhost.",
      );
    }
    for (const file of ["capture.js", "playback.js"]) {
      await this.context.audioWorklet.addModule(new URL(file, import.meta.url));
    }
  }

  async openMicrophone(deviceId, handlers) {
    const microphone = await Microphone.open(this.context, deviceId, handlers);
    this.microphone?.close();
    this.microphone = microphone;
    this.dispatchEvent(new Event("microphone"));
    return microphone;
  }

  /** Begins to play a call's audio: each connection counts its samples from 0. */
  openLoudspeaker(rate, handlers) {
    this.loudspeaker?.close();
    this.loudspeaker = new Loudspeaker(this.context, rate, handlers);
  }

  close() {
    this.microphone?.close();
    this.loudspeaker?.close();
    this.context.onstatechange = null;
    if (this.context.state !== "closed") this.context.close();
  }
}

class Microphone {
  /** Asks for a microphone. `onframe({pcm, level})` gets 20 ms at a time, `onlost()` is called when it has ended. */
  static async open(context, deviceId, { onframe, onlost }) {
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    if (deviceId) audio.deviceId = { exact: deviceId };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw reasonFor(error);
    }
    try {
      return new Microphone(context, stream, onframe, onlost);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop(); // e.g. the caller has hung up before they allowed it
      throw reasonFor(error);
    }
  }

  constructor(context, stream, onframe, onlost) {
    this.stream = stream;
    this.track = stream.getAudioTracks()[0];
    this.source = context.createMediaStreamSource(stream);
    this.worklet = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.worklet.port.onmessage = ({ data }) => onframe(data);
    this.source.connect(this.worklet);
    this.track.onended = () => onlost();
  }

  /** What the browser really does, which may differ from what it was asked for. */
  get capture() {
    const { echoCancellation, noiseSuppression, autoGainControl } = this.track.getSettings();
    const known = (value) => (typeof value === "boolean" ? value : value === undefined ? null : Boolean(value));
    return {
      echo_cancellation: known(echoCancellation),
      noise_suppression: known(noiseSuppression),
      auto_gain_control: known(autoGainControl),
    };
  }

  get deviceId() {
    return this.track.getSettings().deviceId ?? "";
  }

  set isMuted(muted) {
    this.track.enabled = !muted; // silence goes on being sent, so that the server knows that the line is alive
  }

  close() {
    this.track.onended = null;
    this.worklet.port.onmessage = null;
    this.source.disconnect();
    for (const track of this.stream.getTracks()) track.stop();
  }
}

/** Plays a source, and measures how loud it is. */
export class Player {
  constructor(context, source) {
    this.context = context;
    this.source = source;
    this.meter = context.createAnalyser();
    this.meter.fftSize = 512;
    this.samples = new Float32Array(this.meter.fftSize);
    source.connect(this.meter).connect(context.destination);
  }

  /** Seconds from the source to the ear, as far as the browser knows. */
  get latency() {
    return (this.context.baseLatency || 0) + (this.context.outputLatency || 0);
  }

  /** The loudness of what is being played, 0 to 1. */
  get level() {
    this.meter.getFloatTimeDomainData(this.samples);
    return Math.sqrt(this.samples.reduce((sum, sample) => sum + sample * sample, 0) / this.samples.length);
  }

  close() {
    this.source.disconnect();
  }
}

class Loudspeaker extends Player {
  constructor(context, rate, { onplayed, oncleared }) {
    const worklet = new AudioWorkletNode(context, "playback", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { rate },
    });
    super(context, worklet);
    this.worklet = worklet;
    this.worklet.port.onmessage = ({ data }) => (data.type === "played" ? onplayed(data) : oncleared(data));
    this.sendLatency();
    this.timer = setInterval(() => this.sendLatency(), LATENCY_EVERY_MS); // a headset that connects changes it
  }

  sendLatency() {
    this.worklet.port.postMessage({ type: "latency", seconds: Math.min(1, this.latency) });
  }

  play(pcm) {
    this.worklet.port.postMessage(pcm, [pcm]);
  }

  /** Says that an utterance has ended, so that a gap after it is no fault of the network. */
  complete() {
    this.worklet.port.postMessage({ type: "complete" });
  }

  clear(id) {
    this.worklet.port.postMessage({ type: "clear", id });
  }

  /** Falls silent at once; nothing is reported any more. */
  close() {
    clearInterval(this.timer);
    this.worklet.port.onmessage = null;
    this.worklet.port.postMessage({ type: "end" });
    setTimeout(() => super.close(), FADED_MS);
  }
}

/** The microphones and loudspeakers that can be chosen; browsers name them once the microphone may be used. */
export async function devices() {
  if (!navigator.mediaDevices?.enumerateDevices) return { microphones: [], loudspeakers: [] };
  const all = await navigator.mediaDevices.enumerateDevices();
  const named = (kind) => all.filter((device) => device.kind === kind && device.deviceId && device.label);
  return { microphones: named("audioinput"), loudspeakers: named("audiooutput") };
}
