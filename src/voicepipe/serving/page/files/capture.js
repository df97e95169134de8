// Microphone to 16-bit PCM at 16 kHz, 20 ms at a time, in the audio thread.
//
// Rule 1: where the context runs at another rate, sound above 7.2 kHz is taken off first, or it would fold down into
//         speech.
// Rule 2: frames come as long as the context runs: a microphone that is lost gives silence, not a gap.

const RATE = 16000;
const FRAME = 320; // samples of 20 ms
const CUTOFF_HZ = 7200;
const TAPS = 47; // with a Hamming window, 53 dB less at 9 kHz, from a device at 48 kHz

/** Low-pass filter and linear interpolation from one rate to another. */
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.at = 0; // of the next output sample, counted from the newest filtered sample but one
    this.before = 0; // the filtered sample before the newest one
    this.taps = new Float32Array(TAPS);
    this.past = new Float32Array(TAPS); // a ring of the newest input samples
    this.newest = 0;
    const cutoff = Math.min(CUTOFF_HZ, 0.45 * from) / from;
    let sum = 0;
    for (let i = 0; i < TAPS; i++) {
      const x = i - (TAPS - 1) / 2;
      const sinc = x === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * x) / (Math.PI * x);
      this.taps[i] = sinc * (0.54 - 0.46 * Math.cos((2 * Math.PI * i) / (TAPS - 1)));
      sum += this.taps[i];
    }
    for (let i = 0; i < TAPS; i++) this.taps[i] /= sum;
  }

  filtered(sample) {
    this.newest = (this.newest + 1) % TAPS;
    this.past[this.newest] = sample;
    let sum = 0;
    for (let i = 0; i < TAPS; i++) sum += this.taps[i] * this.past[(this.newest - i + TAPS) % TAPS];
    return sum;
  }

  /** Takes one sample in, and calls `put` for each sample that comes out. */
  feed(sample, put) {
    const now = this.filtered(sample);
    for (; this.at < 1; this.at += this.step) put(this.before + (now - this.before) * this.at);
    this.at -= 1;
    this.before = now;
  }
}

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = sampleRate === RATE ? null : new Resampler(sampleRate, RATE);
    this.begin();
    this.put = (sample) => {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.frame[this.filled++] = Math.round(clipped * 32767);
      this.energy += clipped * clipped;
      if (this.filled === FRAME) this.post();
    };
  }

  begin() {
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.energy = 0;
  }

  post() {
    const pcm = this.frame.buffer;
    this.port.postMessage({ pcm, level: Math.sqrt(this.energy / FRAME) }, [pcm]);
    this.begin();
  }

  process(inputs) {
    const channels = inputs[0] ?? [];
    const samples = channels.length > 0 ? channels[0].length : 128;
    for (let i = 0; i < samples; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const sample = channels.length > 0 ? sum / channels.length : 0;
      if (this.resampler) this.resampler.feed(sample, this.put);
      else this.put(sample);
    }
    return true;
  }
}

registerProcessor("capture", Capture);
