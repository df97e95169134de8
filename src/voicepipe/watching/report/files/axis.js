// The axis of time that everything shares, and the waveforms on it.

const element = (tag, name = "", text = "") => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
};

/** A time in the call: 1:02.4. */
function clock(seconds, digits = 1) {
  const all = Math.max(0, seconds);
  const minutes = Math.floor(all / 60);
  const rest = (all - 60 * minutes).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
}

const inMs = (seconds) => `${Math.round(seconds * 1000).toLocaleString("en")} ms`;

/** Which stretch of the call is shown, and where a time is in it. */
class Axis {
  constructor(length) {
    this.length = Math.max(length, 0.1);
    this.from = 0;
    this.span = this.length <= 45 ? this.length : 30;
    this.left = 0;
    this.width = 1;
  }

  x(at) {
    return this.left + ((at - this.from) / this.span) * this.width;
  }

  time(x) {
    return Math.max(0, Math.min(this.length, this.from + ((x - this.left) / this.width) * this.span));
  }

  show(from, span = this.span) {
    this.span = Math.max(Math.min(1, this.length), Math.min(this.length, span));
    this.from = Math.max(0, Math.min(this.length - this.span, from));
  }

  zoom(factor, at = this.from + this.span / 2) {
    const share = (at - this.from) / this.span;
    const span = Math.max(Math.min(1, this.length), Math.min(this.length, this.span * factor));
    this.show(at - share * span, span);
  }

  /** Moves so that a time is shown; a page at a time, so that the picture stands still while it plays. */
  reveal(at) {
    if (at < this.from || at > this.from + this.span) this.show(at - this.span * 0.1);
  }

  /** The times that get a line: about one each 90 pixels. */
  ticks() {
    const wanted = this.span / (this.width / 90);
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800].find((one) => one >= wanted) ?? 3600;
    const first = Math.ceil(this.from / step);
    const count = Math.floor((this.from + this.span) / step) - first + 1;
    return Array.from({ length: Math.max(0, count) }, (_, index) => ({ at: (first + index) * step, step }));
  }
}

/** The lowest and highest sample of each step of a side. */
class Shape {
  constructor(bytes, bucket) {
    this.pairs = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.bucket = bucket;
    // Of a quiet call as of a loud one, the wave fills its lane; a few clicks do not decide how large it is.
    const counts = new Uint32Array(129);
    for (const value of this.pairs) counts[Math.abs(value)] += 1;
    let above = this.pairs.length * 0.002;
    let loudest = 128;
    while (loudest > 8 && (above -= counts[loudest]) > 0) loudest -= 1;
    this.loudest = loudest;
  }

  draw(context, axis, middle, half, colour) {
    const scale = half / this.loudest;
    context.fillStyle = colour;
    const steps = this.pairs.length / 2;
    const perPixel = axis.span / axis.width / this.bucket;
    for (let x = 0; x < axis.width; x += 1) {
      const first = Math.floor((axis.from + (x / axis.width) * axis.span) / this.bucket);
      const last = Math.min(steps, Math.max(first + 1, Math.floor(first + perPixel + 1)));
      let low = 0;
      let high = 0;
      for (let step = first; step < last; step += 1) {
        low = Math.min(low, this.pairs[2 * step]);
        high = Math.max(high, this.pairs[2 * step + 1]);
      }
      const top = Math.min(half, high * scale);
      const bottom = Math.min(half, -low * scale);
      if (top + bottom > 0) context.fillRect(axis.left + x, middle - top, 1, Math.max(1, top + bottom));
    }
  }
}

/** The colours of the page's style, which differ by day and night. */
function coloursOf(node) {
  const style = getComputedStyle(node);
  const names = ["text", "soft", "line", "card", "ground", "caller", "agent", "think", "alert", "focus"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Makes a canvas as sharp as the screen, and returns its context and size in pixels of the page. */
function fitted(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** The whole call in one strip, with a window for what the lanes show. */
class Overview {
  constructor(canvas, axis, call) {
    this.canvas = canvas;
    this.axis = axis;
    this.call = call;
    this.whole = new Axis(call.length);
    this.picture = null; // the strip without the window, drawn once a size
  }

  draw(shapes, colours, now) {
    const { context, width, height } = fitted(this.canvas);
    if (!width) return;
    this.whole.show(0, this.whole.length);
    this.whole.width = width;
    const key = [this.canvas.width, this.canvas.height, colours.text, Object.keys(shapes).length].join();
    if (this.picture?.key !== key) {
      this.picture = { key, canvas: document.createElement("canvas") };
      this.picture.canvas.width = this.canvas.width;
      this.picture.canvas.height = this.canvas.height;
      const strip = this.picture.canvas.getContext("2d");
      strip.scale(this.canvas.width / width, this.canvas.height / height);
      this.drawStrip(strip, shapes, colours, width, height);
    }
    context.drawImage(this.picture.canvas, 0, 0, width, height);
    const from = this.whole.x(this.axis.from);
    const span = Math.max(4, (this.axis.span / this.whole.length) * width);
    context.globalAlpha = 0.14;
    context.fillStyle = colours.focus;
    context.fillRect(from, 0, span, height);
    context.globalAlpha = 1;
    context.strokeStyle = colours.focus;
    context.strokeRect(from + 0.5, 0.5, span - 1, height - 1);
    context.fillStyle = colours.text;
    context.fillRect(this.whole.x(now) - 0.5, 0, 1.5, height);
  }

  drawStrip(strip, shapes, colours, width, height) {
    const quarter = height / 4;
    shapes.caller?.draw(strip, this.whole, quarter, quarter - 2, colours.caller);
    shapes.agent?.draw(strip, this.whole, 3 * quarter, quarter - 2, colours.agent);
    for (const note of this.call.notes) {
      if (note.who !== "trouble" && note.kind !== "TurnInterrupted") continue;
      strip.fillStyle = colours.alert;
      strip.fillRect(this.whole.x(note.at), height / 2 - 3, 2, 6);
    }
    strip.fillStyle = colours.line;
    strip.fillRect(0, height / 2, width, 1);
  }
}
