// The sound of the call: unpacked when it is first wanted, and played by the browser.

/** Bytes of a block of the page. */
function bytesOf(id) {
  const text = document.getElementById(id)?.textContent ?? "";
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** What a block of the page holds, without its compression. */
async function unpacked(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The sample of each code of u-law (ITU-T G.711). */
function ulawTable() {
  const table = new Int16Array(256);
  for (let code = 0; code < 256; code += 1) {
    const value = ~code & 0x7f;
    const loudness = ((((value & 15) << 3) + 132) << (value >> 4)) - 132;
    table[code] = code < 128 ? -loudness : loudness;
  }
  return table;
}

/** A WAV file, 16-bit mono, of one side or of the sum of both. */
function wavOf(planes, rate) {
  const length = Math.max(...planes.map((plane) => plane.length));
  const file = new ArrayBuffer(44 + 2 * length);
  const view = new DataView(file);
  const text = (at, words) => [...words].forEach((one, index) => view.setUint8(at + index, one.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * length, true);
  const table = ulawTable();
  const samples = new Int16Array(file, 44);
  const [one, other] = planes;
  for (let at = 0; at < length; at += 1) {
    let sample = at < one.length ? table[one[at]] : 0;
    if (other && at < other.length) sample += table[other[at]];
    samples[at] = Math.max(-32768, Math.min(32767, sample));
  }
  return new Blob([file], { type: "audio/wav" });
}

/** Plays the call. */
class Sound {
  constructor(sides, rate) {
    this.sides = rate ? sides : [];
    this.rate = rate;
    this.audio = new Audio();
    this.planes = null;
    this.file = null; // what is played, as a WAV file
    this.url = "";
    this.at = 0; // where to begin once there is sound
    this.heard = "both";
  }

  get isThere() {
    return this.sides.length > 0;
  }

  get now() {
    return this.url ? this.audio.currentTime : this.at;
  }

  /** Unpacks what is wanted, and hands it to the browser. */
  async load() {
    if (!this.planes) {
      this.planes = {};
      for (const side of this.sides) this.planes[side] = await unpacked(`sound-${side}`);
    }
    const wanted = this.sides.filter((side) => this.heard === "both" || side === this.heard);
    const { playbackRate } = this.audio;
    const at = this.now;
    if (this.url) URL.revokeObjectURL(this.url);
    this.file = wavOf(wanted.map((side) => this.planes[side]), this.rate);
    this.url = URL.createObjectURL(this.file);
    this.audio.src = this.url;
    this.audio.playbackRate = playbackRate;
    await new Promise((resolve, reject) => {
      this.audio.onloadedmetadata = resolve;
      this.audio.onerror = () => reject(new Error("the browser cannot play the sound of this page"));
    });
    this.audio.currentTime = at;
  }

  /** Makes what is heard ready, once; what fails can be tried again. */
  async prepare() {
    this.loading ??= this.load();
    try {
      await this.loading;
    } catch (error) {
      this.loading = null;
      throw error;
    }
  }

  async play() {
    await this.prepare();
    await this.audio.play();
  }

  async hear(side) {
    const wasPlaying = !this.audio.paused;
    this.heard = side;
    this.audio.pause();
    await this.loading;
    this.loading = this.load();
    await this.loading;
    if (wasPlaying) await this.audio.play();
  }

  seek(at) {
    this.at = at;
    if (this.url) this.audio.currentTime = at;
  }
}
