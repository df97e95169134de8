// The agent's audio from the server to the loudspeaker, in the audio thread: a jitter buffer that counts what is heard.
//
// Rule 1: a place in the audio is the number of samples that the server had sent before it, cleared ones included.
// Rule 2: only samples that were taken from the buffer count as played, and as heard only once they are audible.
// Rule 3: `clear` silences within a block and 5 ms; nothing that came before it is played afterwards.

const KEPT_S = 30; // a page that the browser holds up catches up on this much; of more, the oldest is dropped
const FADE_S = 0.005;
const START_S = 0.04; // what is buffered before playback begins, at best
const STEP_S = 0.02; // by how much that grows when the buffer has run dry, and shrinks when it has not for long
const MOST_S = 0.2;
const CALM_S = 10;
const SHORT_S = 0.05; // audio that is shorter than the buffer begins after this long at the earliest
const REPORT_S = 0.1;

class Playback extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.rate = processorOptions.rate; // of the audio; the context may run at another one
    this.step = this.rate / sampleRate;
    this.kept = Math.ceil(KEPT_S * this.rate);
    this.ring = new Float32Array(this.kept);
    this.received = 0; // samples from the server
    this.position = 0; // of the next sample to play; a fraction where the rates differ
    this.played = 0; // the position after the last sample that was really played
    this.complete = 0; // where an utterance ended: nothing follows it soon
    this.isPlaying = false;
    this.waited = 0; // context samples since audio began to wait
    this.last = 0;

    this.target = START_S;
    this.clock = 0; // context samples so far
    this.driedAt = -Infinity;
    this.calmSince = 0;
    this.dryRuns = 0;

    this.clears = []; // ids whose fade is not over
    this.clearUntil = 0;
    this.fading = 0; // context samples left of the fade
    this.hasEnded = false; // nothing is played after the fade

    this.blocks = []; // the position after each of the last blocks, while they are on their way to the loudspeaker
    this.latency = 0; // seconds
    this.reported = 0;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  // --- from the page -------------------------------------------------------------------------------------------------

  take(message) {
    if (this.hasEnded) return;
    if (message instanceof ArrayBuffer) this.push(new Int16Array(message));
    else if (message.type === "clear") this.clear(message.id);
    else if (message.type === "complete") this.complete = this.received;
    else if (message.type === "latency") this.latency = message.seconds;
    else if (message.type === "end") {
      this.hasEnded = true;
      this.clear(0);
    }
  }

  push(samples) {
    if (this.position >= this.received) {
      this.waited = 0;
      // The largest buffer would not have bridged a longer gap: then the agent was silent, and nothing is late.
      const isLate = this.received > this.complete && this.clock - this.driedAt < MOST_S * sampleRate;
      if (isLate) this.ranDry();
    }
    for (const sample of samples) this.ring[this.received++ % this.kept] = sample / 32768;
    if (this.received - this.position > this.kept) this.position = this.received - this.kept;
  }

  ranDry() {
    this.dryRuns++;
    this.target = Math.min(MOST_S, this.target + STEP_S);
    this.calmSince = this.clock;
    this.driedAt = -Infinity;
  }

  clear(id) {
    this.clears.push(id);
    this.clearUntil = this.received;
    if (this.fading === 0) this.fading = this.isPlaying ? Math.round(FADE_S * sampleRate) : 0;
    if (this.fading === 0) this.cleared();
  }

  cleared() {
    const samples = Math.floor(this.played);
    for (const id of this.clears) this.port.postMessage({ type: "cleared", id, samples });
    this.clears = [];
    this.fading = 0;
    this.position = this.clearUntil;
    this.reported = this.clearUntil; // what was cleared is never reported as played
    this.isPlaying = false;
    this.waited = 0;
    this.driedAt = -Infinity;
    this.last = 0;
  }

  // --- to the loudspeaker --------------------------------------------------------------------------------------------

  process(inputs, outputs) {
    const [first, ...others] = outputs[0];
    const waiting = this.received - this.position;
    if (!this.isPlaying && waiting > 0) {
      this.isPlaying =
        waiting >= this.target * this.rate ||
        this.complete === this.received ||
        this.waited >= Math.max(SHORT_S, this.target) * sampleRate;
      this.waited += first.length;
    }
    for (let i = 0; i < first.length; i++) first[i] = this.isPlaying ? this.next() : (this.last *= 0.95);
    for (const channel of others) channel.set(first);
    this.clock += first.length;
    this.adapt();
    this.report(first.length);
    return !this.hasEnded || this.fading > 0; // the browser may drop a worklet that returns false
  }

  /** Returns the next sample, interpolated where the rates differ. */
  next() {
    const end = this.fading > 0 ? this.clearUntil : this.received;
    const whole = Math.floor(this.position);
    const here = this.ring[whole % this.kept];
    const there = whole + 1 < end ? this.ring[(whole + 1) % this.kept] : here;
    const gain = this.fading > 0 ? this.fading / Math.round(FADE_S * sampleRate) : 1;
    this.last = gain * (here + (there - here) * (this.position - whole));
    this.position = this.played = Math.min(end, this.position + this.step);
    const sample = this.last;
    if (this.fading > 0) {
      this.fading--;
      if (this.fading === 0 || this.position >= end) this.cleared();
    } else if (this.position >= end) {
      this.isPlaying = false;
      this.driedAt = this.clock;
    }
    return sample;
  }

  adapt() {
    if (this.clock - this.calmSince < CALM_S * sampleRate) return;
    this.calmSince = this.clock;
    this.target = Math.max(START_S, this.target - STEP_S);
  }

  report(blockLength) {
    this.blocks.push(Math.floor(this.position));
    const delay = Math.round((this.latency * sampleRate) / blockLength);
    while (this.blocks.length > delay + 1) this.blocks.shift();
    const heard = this.blocks[0];
    const isWhole = heard === this.received && !this.isPlaying;
    if (heard - this.reported < REPORT_S * this.rate && !(isWhole && heard > this.reported)) return;
    this.reported = heard;
    this.port.postMessage({ type: "played", samples: heard, dryRuns: this.dryRuns, bufferS: this.target });
  }
}

registerProcessor("playback", Playback);
