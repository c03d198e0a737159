// Documented in client.d.ts.

const REASONS = {
  1001: "going_away", 1008: "policy", 1009: "too_large", 1012: "draining",
  4001: "token_expired", 4003: "origin", 4008: "limit", 4100: "slow_consumer", 4108: "rate_limited",
};
const TIMEOUT = 10_000; // ms, for an answer
const PROBE = 5_000; // ms, for an answer on a connection in doubt
const WINDOW = 32; // maximum of unanswered joins and leaves
// Events that may have cut the connection, or end a wait.
const SIGNS = ["online", "offline", "visibilitychange", "resume"];
// In a bundle that is not an ES module, or has the path of the source here, the page is the base.
const BASE = /^http/.test(import.meta.url) ? import.meta.url : (globalThis.document?.baseURI ?? globalThis.location?.href);

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const ceiling = (attempt) => Math.min(30_000, 500 * 2 ** attempt);
const jitter = (attempt) => Math.random() * ceiling(attempt);
const trim = (token) => token && String(token).trim();

export class RollcallError extends Error {
  constructor(code, message) {
    super(message || code);
    this.code = code;
  }
}

class Emitter extends EventTarget {
  on(event, listener) {
    const handle = (e) => listener(...e.detail);
    this.addEventListener(event, handle);
    return () => this.removeEventListener(event, handle);
  }

  _emit(event, ...detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}

export class Channel extends Emitter {
  members = new Map();
  _round = 0;

  constructor(rc, name, presence) {
    super();
    Object.assign(this, { _rc: rc, name, presence, kind: null, count: null, synced: false });
    this._renew();
  }

  send(message) {
    return this._rc.send([this.name], message);
  }

  async leave() {
    if (!this._live()) return;
    this._stop(new RollcallError("left"));
    const { channels } = this._rc;
    await this._rc._persist({ type: "leave", channel: this.name }, () => !channels.has(this.name)).catch(() => {});
  }

  _live() {
    return this._rc.channels.get(this.name) == this;
  }

  _renew() {
    this.ready = new Promise((resolve, reject) => Object.assign(this, { _resolve: resolve, _reject: reject }));
    this.ready.catch(() => {}); // _fail reports it, too
  }

  async _join() {
    const round = ++this._round;
    const current = () => round == this._round && this._live();
    this._early = [];
    this.synced = false;
    try {
      const frame = await this._rc._persist({ type: "join", channel: this.name, presence: this.presence }, current);
      if (current()) this._snapshot(frame);
    } catch (e) {
      if (current() && e.code != "offline") this._fail(e);
    }
  }

  _snapshot({ kind, seq, count = null, members = [] }) {
    Object.assign(this, { kind, count, synced: true, _seq: seq });
    this.members.clear();
    for (const m of members) this.members.set(m.id, m);
    this._resolve(this);
    this._emit("sync", this);
    this._emit("change", this);
    for (const frame of this._early.splice(0)) this._diff(frame);
  }

  _diff(frame) {
    if (!this.synced) return this._early.push(frame);
    const { seq, kind = this.kind, count = null, joined = [], left = [], updated = [] } = frame;
    if (seq <= this._seq) return;
    if (seq != this._seq + 1) return this._join(); // a frame was lost
    Object.assign(this, { kind, count, _seq: seq });
    for (const m of left) this.members.delete(m.id);
    if (this.presence == "list") for (const m of [...joined, ...updated]) this.members.set(m.id, m);
    for (const m of left) this._emit("leave", m);
    for (const m of joined) this._emit("join", m);
    for (const m of updated) this._emit("update", m);
    this._emit("change", this);
  }

  _fail(error) {
    this._stop(error);
    this._emit("error", error);
  }

  _stop(error) {
    this._rc.channels.delete(this.name);
    this.members.clear();
    Object.assign(this, { count: null, synced: false });
    this._reject(error);
  }
}

export class Rollcall extends Emitter {
  state = "closed";
  channels = new Map();
  _commands = new Map();
  _run = 0; // number of the connection; events of older ones are ignored
  _id = 0;
  _ping = 25;
  _lane = { busy: 0, limit: WINDOW, queue: [] };

  constructor({ url = "socket", getToken } = {}) {
    super();
    this.url = new URL(url, BASE);
    this.url.protocol = this.url.protocol.replace("http", "ws");
    this._getToken = getToken;
    this._sign = ({ type }) => {
      if (globalThis.document?.hidden && type == "visibilitychange") return;
      if (this.state == "open") this._probe(PROBE);
      // Not if the server asked for the pause.
      else if (this.state == "waiting" && this._code == 1006 && type != "offline")
        this._wait(jitter(0), type == "online" ? type : "visible", 1006);
    };
    this.connect();
  }

  connect() {
    if (this.state == "closed") {
      for (const type of SIGNS) globalThis.addEventListener?.(type, this._sign, true); // resume does not bubble
      for (const ch of this.channels.values()) ch._renew();
      this._attempt = 0;
      this._stale = null;
    } else if (this.state != "waiting") return;
    this._open("start");
  }

  close() {
    this._drop();
    this._end("closed", 1000);
  }

  join(name, { presence = "none" } = {}) {
    let ch = this.channels.get(name);
    if (!ch) {
      this.channels.set(name, (ch = new Channel(this, name, presence)));
      if (this.state == "open") ch._join();
      else if (this.state == "closed") ch._reject(new RollcallError("closed"));
    }
    return ch;
  }

  async authenticate(token) {
    token = trim(token);
    const { user } = await this._command({ type: "authenticate", token });
    Object.assign(this, { user, _token: token });
    this._emit("user", user);
    return user;
  }

  async send(channels, message) {
    await this._command({ type: "send", channels, message });
  }

  async _open(reason) {
    this._drop();
    const run = this._run;
    this._expect(TIMEOUT, "token"); // before listeners, which may close the client
    this._set("connecting", reason);
    let token = this._token;
    try {
      if (this._getToken) token = trim(await this._getToken());
    } catch {
      return run == this._run && this._lost(1006, "token");
    }
    if (run != this._run) return;
    if (this._stale && (token ? token == this._stale : this._stale != true)) return this._lost(4001, this._why);
    this._token = token;
    this._expect(TIMEOUT, "timeout");
    const ws = (this._ws = new WebSocket(this.url, "rollcall.v1"));
    ws.onmessage = (e) => run == this._run && this._receive(JSON.parse(e.data));
    ws.onclose = (e) => run == this._run && this._lost(e.code, "", e.reason);
  }

  _receive(frame) {
    const { type, id, code, ping, reason, channel, message, from, backend } = frame;
    if (ping) this._ping = ping;
    if (type == "pong" || type == "error") this._patience = 0; // an error may answer a ping
    if (this._patience) this._expect(this._patience, "silent");
    else {
      clearTimeout(this._beat);
      this._beat = setTimeout(() => this._probe(TIMEOUT), this._ping * 1000);
    }

    const ch = this.channels.get(channel);
    const error = type == "error" && new RollcallError(code, message);
    if (this._commands.has(id)) this._commands.get(id)(error, frame);
    else if (error) this._emit("error", error);
    else if (type == "presence") ch?._diff(frame);
    else if (type == "message") (channel == this.tab ? this : ch)?._emit(type, message, from, ...(backend ? [true] : []));
    else if (type == "left" && reason) ch?._fail(new RollcallError(reason));
    else if (type == "welcome") this._welcome(frame);
  }

  async _welcome({ connection, channel, user }) {
    const run = this._run;
    Object.assign(this, { connection, user, tab: channel });
    try {
      if (this._token) await this.authenticate(this._token);
    } catch (e) {
      if (run == this._run) this._emit("error", e);
      if (run == this._run) this._lost(e.code == "bad_token" ? 4001 : 1006, e.code);
    }
    if (run != this._run) return;
    // The expired login was not renewed: a user must not become anonymous unnoticed.
    if (this._stale && !this.user) return this._lost(4001, this._why);
    this._stale = null;
    this._stable = setTimeout(() => (this._attempt = 0), 5_000);
    const channels = [...this.channels.values()];
    this._set("open", "welcome");
    for (const ch of channels) if (run == this._run && ch._live()) ch._join();
  }

  // Ends the connection unless a frame arrives within ms.
  _expect(ms, reason) {
    clearTimeout(this._beat);
    this._beat = setTimeout(() => this._lost(1006, reason), ms);
  }

  // Any frame extends the deadline, but only an answer ends the probe: other frames may have been
  // sent before the ping.
  _probe(patience) {
    this._patience = patience;
    this._ws.send('{"type":"ping"}');
    this._expect(patience, "silent");
  }

  _lost(code, reason, text) {
    this._drop();
    reason ||= REASONS[code] ?? "lost";
    const range = (code / 100) | 0;
    const attempt = this._attempt++;
    let delay = jitter(attempt);
    if (range == 40) {
      if (code != 4001 || this._stale) return this._end(reason, code);
      this._why = reason;
      this._stale = (this._getToken && this._token) || true;
      if (!this._getToken) this._token = null; // a cookie may have been renewed
    } else if (range == 41) {
      this._attempt = Math.max(4, this._attempt);
      delay = (ceiling(this._attempt - 1) + jitter(this._attempt - 1)) / 2;
    } else if (range == 42 && !attempt) {
      delay = 0;
    } else if (code == 1012) {
      try {
        const after = JSON.parse(text).after_ms;
        if (after >= 0) delay = Math.min(after, 300_000);
      } catch {} // no hint
    }
    this._wait(delay, reason, code);
  }

  _wait(delay, reason, code) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._open("retry"), delay);
    this._set("waiting", reason, code, delay);
  }

  _end(reason, code) {
    for (const type of SIGNS) globalThis.removeEventListener?.(type, this._sign, true);
    for (const ch of this.channels.values()) ch._reject(new RollcallError("closed", reason));
    this._set("closed", reason, code);
  }

  _set(state, reason, code, delay) {
    Object.assign(this, { state, _code: code });
    this._emit("state", { state, reason, code, delay });
  }

  _drop() {
    this._run++;
    this._patience = 0;
    for (const timer of [this._beat, this._stable, this._timer]) clearTimeout(timer);
    this._ws?.close();
    this._ws = this.connection = this.tab = this.user = null;
    for (const ch of this.channels.values()) ch.synced = false;
    for (const settle of [...this._commands.values()]) settle(new RollcallError("offline"));
    const { queue } = this._lane;
    this._lane.busy = -Infinity; // queued commands run, and fail as offline
    this._lane = { busy: 0, limit: WINDOW, queue: [] };
    for (const go of queue) go();
  }

  _command(frame) {
    return new Promise((resolve, reject) => {
      const id = ++this._id;
      const settle = (error, answer) => {
        clearTimeout(timer);
        this._commands.delete(id);
        error ? reject(error) : resolve(answer);
      };
      const timer = setTimeout(() => {
        settle(new RollcallError("timeout"));
        if (this.state == "open" && !this._patience) this._probe(PROBE);
      }, TIMEOUT);
      this._commands.set(id, settle);
      // The server would read U+FFFD: another name.
      if (/\p{Surrogate}/u.test([frame.channel, frame.channels])) settle(new RollcallError("bad_channel", "half a surrogate pair"));
      else if (this.connection) this._ws.send(JSON.stringify({ ...frame, id }));
      else settle(new RollcallError("offline"));
    });
  }

  // Joins or leaves, and retries after temporary failures. The server limits the rate of frames,
  // and timers of a hidden page are slow: so answers set the pace, and after a refusal, frames are
  // sent one by one.
  async _persist(frame, wanted) {
    for (let attempt = 1; ; attempt++) {
      const lane = this._lane;
      while (lane.busy >= lane.limit) await new Promise((go) => lane.queue.push(go));
      lane.busy++;
      let code;
      try {
        if (!wanted()) throw new RollcallError("left");
        return await this._command(frame);
      } catch (e) {
        code = e.code;
        if (!/^(timeout|rate_limited|unavailable)$/.test(code)) throw e;
        if (code == "rate_limited") {
          lane.limit = 1;
          await sleep(jitter(Math.min(attempt, 3))); // keeps its place in the lane
        }
      } finally {
        lane.busy--;
        if (code != "rate_limited" && lane.limit < WINDOW) lane.limit++;
        for (const go of lane.queue.splice(0, Math.max(0, lane.limit - lane.busy))) go();
      }
      if (code != "rate_limited") await sleep(jitter(attempt));
    }
  }
}
