// The page's second path: sound as Opus in packets, and the messages of voicepipe.v1 on a data channel.
//
// Rule 1: all else, from tokens to calling again, is that of `Call`; a connection looks to it like a websocket.
// Rule 2: the microphone's track is sent as it is, so muting it mutes it here too.

import { Call } from "./call.js";
import { Player } from "./sound.js";

const PROTOCOL = "voicepipe.v1";
const OPEN_MS = 6000; // the server itself waits 5 s
const GATHER_MS = 2000; // for addresses of this machine as STUN and TURN servers see it
const NO_WAY = "No way to the server was found by WebRTC. Open this page without “?path=webrtc”.";

const LOST = 1006; // the codes of websockets
const BUSY = 1013;
const REFUSED = 4000; // with a reason for people

const FADE_S = 0.005;
const REST_S = 0.2; // for so long after `clear` old sound may still come from the browser's jitter buffer

/** A call over WebRTC. `sound` has the microphone. */
export class WebRTCCall extends Call {
  constructor(base, sound) {
    super(base);
    this.sound = sound;
    this.tokenPath = "webrtc/token";
    sound.addEventListener("microphone", () => this.socket?.useMicrophone(sound.microphone.track));
  }

  /** Posts the offer; `query` leads to one of several servers, whose token it is. */
  dial({ token, ice_servers: iceServers, query = "" }) {
    return new Connection(new URL(`webrtc${query}`, this.base), token, iceServers, this.sound.microphone?.track);
  }

  /** The track is sent without help. */
  sendAudio() {}

  openLoudspeaker({ oncleared }) {
    this.sound.loudspeaker?.close();
    this.sound.loudspeaker = new TrackLoudspeaker(this.sound.context, this.socket.voice, oncleared);
  }
}

/** A connection that is used like a websocket: onopen, onmessage, onclose, send, close. */
class Connection {
  constructor(url, token, iceServers, microphone) {
    this.isClosed = false;
    this.voice = null; // the agent's, a MediaStream
    this.connection = new RTCPeerConnection({ iceServers });
    this.sender = this.connection.addTransceiver(microphone ?? "audio", {
      direction: microphone ? "sendrecv" : "recvonly",
    }).sender;
    this.channel = this.connection.createDataChannel("voicepipe", { protocol: PROTOCOL });
    this.channel.onopen = () => {
      clearTimeout(this.timer);
      this.onopen?.();
    };
    this.channel.onmessage = ({ data }) => this.take(data);
    this.channel.onclose = () => this.finish(LOST, "");
    this.connection.ontrack = ({ track }) => (this.voice = new MediaStream([track]));
    this.connection.onconnectionstatechange = () => {
      if (this.connection.connectionState === "failed") this.finish(LOST, "");
    };
    this.timer = setTimeout(() => this.finish(REFUSED, NO_WAY), OPEN_MS);
    this.offer(url, token).catch(() => this.finish(LOST, ""));
  }

  async offer(url, token) {
    await this.connection.setLocalDescription();
    await this.gathered();
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${token}` },
      body: this.connection.localDescription.sdp,
    });
    if (this.isClosed) return;
    if (response.ok) {
      await this.connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
      return;
    }
    const said = await response.json().catch(() => ({}));
    if ([408, 429, 502, 503, 504].includes(response.status)) this.finish(BUSY, "");
    else this.finish(REFUSED, said.message ?? `The server refused this call (${response.status}).`);
  }

  /** Waits until the offer names all addresses: they cannot be sent later. */
  gathered() {
    return new Promise((done) => {
      const look = () => this.connection.iceGatheringState === "complete" && done();
      this.connection.onicegatheringstatechange = look;
      setTimeout(done, GATHER_MS);
      look();
    });
  }

  take(data) {
    const message = JSON.parse(data);
    if (message.type === "close") this.finish(message.code, message.reason);
    else this.onmessage?.({ data });
  }

  useMicrophone(track) {
    this.sender.replaceTrack(track);
  }

  send(text) {
    if (this.channel.readyState === "open") this.channel.send(text);
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.connection.close();
  }

  finish(code, reason) {
    if (this.isClosed) return;
    this.close();
    this.onclose?.({ code, reason });
  }
}

/** Plays the agent's track. What has been played of it, a browser does not say. */
class TrackLoudspeaker extends Player {
  constructor(context, voice, oncleared) {
    const gate = context.createGain();
    super(context, gate);
    this.gate = gate;
    this.oncleared = oncleared;
    this.element = new Audio(); // Chromium gives a context no sound of a track that no element has
    this.element.muted = true;
    this.element.srcObject = voice;
    this.track = context.createMediaStreamSource(voice);
    this.track.connect(gate);
  }

  complete() {}

  /** Is silent at once, until what the server had sent before has passed. */
  clear(id) {
    const { gain } = this.gate;
    const now = this.context.currentTime;
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(0, now + FADE_S);
    gain.setValueAtTime(1, now + REST_S);
    setTimeout(() => this.oncleared({ id, samples: 0 }), 1000 * FADE_S);
  }

  close() {
    this.track.disconnect();
    this.element.srcObject = null;
    super.close();
  }
}
