// A call to the agent over the protocol voicepipe.v1: token, websocket, messages, and another connection after a lost one.
//
// Rule 1: this module knows neither the page nor the sound: it emits events, and takes frames and reports.
// Rule 2: sound is live: what the network cannot take is dropped, not sent late.
// Rule 3: a call for which the server gave a key goes on over the next connection, as long as the server keeps it. Any
//         other call begins again.

const PROTOCOL = "voicepipe.v1";
const MOST_WAITING_BYTES = 65536; // two seconds of audio that the network has not taken
const CONNECT_MS = 8000; // for a token, the websocket and the answer to hello
const CLOSE_MS = 3000;
const PING_MS = 2000;
const LATE_PINGS = 4; // a connection that has not answered for so many pings is lost, even if the browser does not say so
const RESUME_MS = 5000; // as CONNECT_MS, for a caller in the middle of a call
const RETRY_S = [0, 0.25, 0.5, 1, 2, 4, 8, 15];
const RESUME_S = [0, 0.1, 0.25, 0.5, 1]; // as RETRY_S, for a caller in the middle of a call
const GIVE_UP_MS = 60000;

const ABANDONED = 4000; // the code with which this page closes a connection that another one follows

/** Close codes after which another attempt makes sense: the network, a restart, a server that is full. */
const RETRYABLE = new Set([1001, 1005, 1006, 1012, 1013]);

const CLOSED = {
  1008: "The server refused this call.",
  1009: "The server refused a message of this page.",
  1011: "Something went wrong on the server.",
  4401: "The permission for this call has expired.",
  4403: "This page may not call this server.",
  4408: "The call ended because nothing was said for a long time.",
  4409: "The call goes on over another connection.",
  4429: "This page sent more than the server allows.",
};

/**
 * Events, with what they are about in `detail`: "state" (connecting, live, lost, ended), "message" (a message of the
 * server) and "audio" (an ArrayBuffer).
 */
export class Call extends EventTarget {
  constructor(base) {
    super();
    this.base = base;
    this.tokenPath = "token";
    this.state = "new";
    this.reason = ""; // why the call has ended, in words
    this.hello = null;
    this.socket = null;
    this.key = null; // with which the call can be resumed; null if it cannot
    this.keptMs = 0; // for how long the server keeps it
    this.gaps = []; // how long the newest losses lasted, in ms
    this.counts = { framesSent: 0, framesDropped: 0, framesReceived: 0, connections: 0 };
    this.roundTripMs = null;
    this.ping = { id: 0, at: 0, late: 0 };
    this.connecting = 0; // the number of the newest attempt: what an older one still brings is dropped
    this.isOver = false; // the server has said good-bye
    this.lostAt = 0;
    this.attempt = 0;
  }

  /** Connects; `microphone` says how the sound is captured, null without one. */
  start(microphone) {
    this.hello = { type: "hello", microphone };
    this.change("connecting");
    this.connect();
  }

  get isLive() {
    return this.state === "live";
  }

  /** Whether the connection is gone, and the call goes on over the next one. */
  get isResuming() {
    return this.state === "lost" && this.key !== null;
  }

  // --- to the server -------------------------------------------------------------------------------------------------

  sendAudio(pcm) {
    if (!this.isLive) return;
    if (this.socket.bufferedAmount > MOST_WAITING_BYTES) {
      this.counts.framesDropped++;
      return;
    }
    this.socket.send(pcm);
    this.counts.framesSent++;
  }

  send(message) {
    if (this.isLive) this.socket.send(JSON.stringify(message));
  }

  /** Ends the call at once; the server has a moment to close the connection in order. */
  hangUp() {
    if (this.isLive) {
      this.send({ type: "end" });
      const socket = this.release();
      setTimeout(() => socket.close(), CLOSE_MS);
    }
    this.abandon();
    this.end("");
  }

  // --- the connection ------------------------------------------------------------------------------------------------

  async connect() {
    this.abandon();
    const number = ++this.connecting;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.drop(), this.key ? RESUME_MS : CONNECT_MS);
    let given;
    try {
      given = await this.fetchToken();
    } catch (refused) {
      if (this.state === "ended" || number !== this.connecting) return;
      if (refused.isFinal) this.end(refused.message);
      else this.retry(refused.retryS ?? 0);
      return;
    }
    if (this.state === "ended" || number !== this.connecting) return;
    let socket;
    try {
      socket = this.dial(given);
    } catch {
      this.end("The server named an address to which this page cannot connect.");
      return;
    }
    const hello = this.key ? { ...this.hello, resume: this.key } : this.hello;
    socket.onopen = () => socket.send(JSON.stringify(hello));
    socket.onmessage = ({ data }) => this.take(data);
    socket.onclose = ({ code, reason }) => this.closed(code, reason);
    this.socket = socket;
  }

  /** Connects to the page's own address, or to the one that came with the token: that of one of several servers. */
  dial({ token, url }) {
    const place = new URL(url ?? ".", this.base);
    place.protocol = place.protocol.replace("http", "ws");
    const socket = new WebSocket(place, [PROTOCOL, `token.${token}`]);
    socket.binaryType = "arraybuffer";
    return socket;
  }

  async fetchToken() {
    let response;
    try {
      const signal = AbortSignal.timeout(CONNECT_MS);
      response = await fetch(new URL(this.tokenPath, this.base), { method: "POST", cache: "no-store", signal });
    } catch {
      throw new Refused("The server cannot be reached.", false);
    }
    if (response.ok) return response.json();
    const retryS = Number(response.headers.get("Retry-After"));
    const isFinal = ![408, 429, 502, 503, 504].includes(response.status);
    const said = await response.json().catch(() => ({}));
    throw new Refused(said.message ?? `The server refused this call (${response.status}).`, isFinal, retryS);
  }

  take(data) {
    if (data instanceof ArrayBuffer) {
      this.counts.framesReceived++;
      this.dispatchEvent(new CustomEvent("audio", { detail: data }));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready") {
      this.counts.connections++;
      if (this.state === "lost") this.gaps = [...this.gaps.slice(-49), performance.now() - this.lostAt];
      this.key = message.resume ?? null;
      this.keptMs = 1000 * (message.resume_s ?? 0);
      clearTimeout(this.timer);
      clearTimeout(this.deadline);
      this.change("live");
      this.beginPings();
    } else if (message.type === "pong") {
      if (message.id !== this.ping.id) return;
      this.roundTripMs = performance.now() - this.ping.at;
      this.ping.late = 0;
    } else if (message.type === "bye") {
      this.isOver = message.reason === "ended" && !message.resumable;
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
    if (message.type === "bye" && message.resumable) this.drop();
  }

  /** Asks again and again whether the server is there. Counts its own calls, because a page may be held up for long. */
  beginPings() {
    clearInterval(this.pings);
    this.ping.late = 0;
    this.pings = setInterval(() => {
      if (!this.isLive) return;
      if (this.ping.late++ >= LATE_PINGS) this.drop();
      else if (this.ping.late === 1) {
        this.ping.id++;
        this.ping.at = performance.now();
        this.send({ type: "ping", id: this.ping.id });
      }
    }, PING_MS);
  }

  closed(code, reason) {
    this.socket = null;
    if (this.state === "ended") return;
    if (code in CLOSED) this.end(CLOSED[code]);
    else if (this.isOver || code === 1000) this.end("");
    else if (RETRYABLE.has(code)) this.retry(0);
    else this.end(reason || `The server closed the call (${code}).`);
  }

  /** Gives a connection up that is still open: nothing answers on it, or the server has asked for another one. */
  drop() {
    this.abandon();
    this.retry(0);
  }

  retry(afterS) {
    if (this.state !== "lost") {
      this.lostAt = performance.now();
      this.attempt = 0;
      this.deadline = setTimeout(() => this.giveUp(), this.key ? this.keptMs : GIVE_UP_MS);
      this.change("lost");
    }
    const pauses = this.key ? RESUME_S : RETRY_S;
    const pause = pauses[Math.min(this.attempt++, pauses.length - 1)];
    const jittered = pause * (0.75 + Math.random() / 2);
    const asked = this.key ? 0 : afterS || 0; // Retry-After counts whole seconds, which is long in the middle of a call
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), 1000 * Math.max(jittered, asked));
  }

  giveUp() {
    this.abandon();
    const lostS = Math.round((performance.now() - this.lostAt) / 1000);
    this.end(
      this.key
        ? `The connection has been lost for ${lostS} seconds, so the call has ended. Check the network, then call again.`
        : "The server cannot be reached. Check the network, then start again.",
    );
  }

  /** Stops listening to the socket, and returns it. */
  release() {
    const socket = this.socket;
    for (const name of ["onopen", "onmessage", "onclose"]) socket[name] = null;
    this.socket = null;
    return socket;
  }

  /** Closes a connection whose call may go on: by this code the server sees that nobody has hung up. */
  abandon() {
    if (this.socket) this.release().close(ABANDONED, "calling again");
  }

  end(reason) {
    clearTimeout(this.timer);
    clearTimeout(this.deadline);
    clearInterval(this.pings);
    this.reason = reason;
    this.change("ended");
  }

  change(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

class Refused extends Error {
  constructor(message, isFinal, retryS) {
    super(message);
    this.isFinal = isFinal;
    this.retryS = retryS;
  }
}
