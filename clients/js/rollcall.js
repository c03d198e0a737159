// Documented in the TypeScript declarations, client.d.ts.

const REASONS = {
  1001: "going_away", 1008: "policy", 1009: "too_large", 1012: "draining",
  4001: "token_expired", 4002: "disconnected", 4003: "origin", 4005: "refused", 4008: "limit",
  4100: "slow_consumer", 4108: "rate_limited", 4110: "unavailable",
};
const TIMEOUT = 10_000; // ms, for an answer
const PROBE = 5_000; // ms, for an answer on a connection in doubt
const WINDOW = 32; // maximum of unanswered joins and leaves
// Events that may have cut the connection, or end a wait.
const SIGNS = ["online", "offline", "visibilitychange", "resume"];
const LEVELS = ["none", "count", "list"]; // of presence
const NAMES = 30_000; // ms; maximum until members are listed again
// The URL of this module at the server, as client.js; false elsewhere, where the page is the base.
const HOME = /^http[^?#]*\/client\.js([?#]|$)/.test(import.meta.url) && import.meta.url;
const BASE = HOME || (globalThis.document?.baseURI ?? globalThis.location?.href);

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const ceiling = (attempt) => Math.min(30_000, 500 * 2 ** attempt);
const jitter = (attempt) => Math.random() * ceiling(attempt);
const trim = (token) => token && String(token).trim();
const level = (ch) => LEVELS.indexOf(ch.presence);

// Milliseconds for which a JSON Web Token is valid; NaN if it does not say so. If the clock here is
// wrong, a token counts as new.
function lifetime(token) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    const left = exp * 1000 - Date.now();
    const whole = (exp - (iat ?? 0)) * 1000;
    return left > 0 && left < whole ? left : whole;
  } catch {
    return NaN;
  }
}

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

// A holder of a room: each call of join makes one.
export class Channel extends Emitter {
  constructor(room, presence, assigned) {
    super();
    Object.assign(this, { _room: room, name: room.name, presence, assigned: !!assigned });
    this._renew();
    room.holders.add(this);
  }

  get kind() {
    return this._room.kind;
  }

  get may() {
    return this._room.may;
  }

  get names() {
    return this._room.names;
  }

  get members() {
    return this._held() && this.presence == "list" ? this._room.members : new Map();
  }

  get count() {
    return this._held() && level(this) ? this._room.count : null;
  }

  get synced() {
    return this._held() && this._room.synced;
  }

  send(message, options) {
    return this._room.rc.send([this.name], message, options);
  }

  async leave() {
    if (!this._held()) return;
    const { holders } = this._room;
    this._end(new RollcallError("left"));
    if (holders.size) this._room.adjust();
    else await this._room.leave();
  }

  _held() {
    return this._room.holders.has(this);
  }

  _renew() {
    this.ready = new Promise((resolve, reject) => Object.assign(this, { _resolve: resolve, _reject: reject }));
    this.ready.catch(() => {}); // _fail reports it, too
  }

  _synced() {
    this._resolve(this);
    this._emit("sync", this);
    if (this._held()) this._emit("change", this);
  }

  _fail(error) {
    this._end(error);
    this._emit("error", error);
  }

  _end(error) {
    const { rc, holders, name } = this._room;
    holders.delete(this);
    if (!holders.size) {
      rc._rooms.delete(name);
      this._room.synced = false;
    }
    this._reject(error);
  }
}

// What the connection knows of a channel, for all its holders.
class Room {
  holders = new Set();
  members = new Map();

  constructor(rc, name) {
    Object.assign(this, { rc, name, kind: null, may: null, count: null, names: true, synced: false });
    Object.assign(this, { asked: null, round: 0, early: [] }); // asked: the presence of the last join
    rc._rooms.set(name, this);
  }

  best() {
    return [...this.holders].reduce((a, b) => (level(b) > level(a) ? b : a));
  }

  // Whether it is joined for holders, and not only by the server.
  get own() {
    return this.asked || [...this.holders].some((ch) => !ch.assigned);
  }

  // Asks for the most that a holder wants.
  adjust() {
    const { presence } = this.best();
    if (this.rc.state == "open" && this.own && presence != this.asked) this.join(presence);
  }

  // Gives a new holder what the others have, once it can have listeners.
  welcome(ch) {
    queueMicrotask(() => ch.synced && ch._synced());
  }

  async join(presence) {
    const round = ++this.round;
    const current = () => round == this.round && this.holders.size;
    this.asked = presence;
    this.early = [];
    this.synced = false;
    try {
      const frame = await this.rc._persist({ type: "join", channel: this.name, presence }, current);
      if (current()) this.snapshot(frame);
    } catch (e) {
      if (!current() || e.code == "offline") return;
      // Others may be let in with less.
      this.asked = "refused";
      this.each((ch) => ch.presence == presence && ch._fail(e));
      if (this.holders.size) this.adjust();
      else if (this.there) this.leave(); // with less, the server has joined it
    }
  }

  leave() {
    const { rc, name } = this;
    return rc._persist({ type: "leave", channel: name }, () => !rc._rooms.has(name)).catch(() => {});
  }

  snapshot({ kind, may = null, seq, count = null, members = [], names = true }) {
    Object.assign(this, { kind, may, count, names, seq, synced: true, there: true });
    this.members.clear();
    for (const m of members) this.members.set(m.id, m);
    this.each((ch) => ch._synced());
    for (const frame of this.early.splice(0)) this.diff(frame);
  }

  diff(frame) {
    if (!this.synced) return this.early.push(frame);
    const { seq, kind = this.kind, count = null, names, joined = [], left = [], updated = [] } = frame;
    if (seq <= this.seq) return;
    if (seq != this.seq + 1) return this.join(this.asked); // a frame was lost
    const changed = kind != this.kind;
    if (names && this.asked != "list") this.names = true;
    else if (names && !this.names) {
      const { round } = this;
      setTimeout(() => round == this.round && this.holders.size && this.join(this.asked), Math.random() * NAMES);
    }
    Object.assign(this, { kind, count, seq });
    if (names == false) {
      this.names = false;
      this.members.clear();
    }
    for (const m of left) this.members.delete(m.id);
    if (this.asked == "list" && this.names) for (const m of [...joined, ...updated]) this.members.set(m.id, m);
    const tell = (event, m) => this.each((ch) => level(ch) && ch._emit(event, m));
    for (const m of left) tell("leave", m);
    for (const m of joined) tell("join", m);
    for (const m of updated) tell("update", m);
    this.each((ch) => (level(ch) || changed) && ch._emit("change", ch));
  }

  each(f) {
    for (const ch of [...this.holders]) if (ch._held()) f(ch);
  }
}

export class Rollcall extends Emitter {
  state = "closed";
  _rooms = new Map();
  _commands = new Map();
  _run = 0; // number of the connection; events of older ones are ignored
  _id = 0;
  _ping = 25;
  _lane = { busy: 0, limit: WINDOW, queue: [] };

  constructor({ url = HOME ? "socket" : "/message/socket", getToken, WebSocket = globalThis.WebSocket } = {}) {
    if (!WebSocket) throw new TypeError("no WebSocket: pass one as an option");
    super();
    this.url = new URL(url, BASE);
    this.url.protocol = this.url.protocol.replace("http", "ws");
    Object.assign(this, { _getToken: getToken, _WebSocket: WebSocket });
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
      this._each((ch) => ch._renew());
      this._attempt = 0;
      this._stale = null;
    } else if (this.state != "waiting") return;
    this._open("start");
  }

  close() {
    this._drop();
    this._end("closed", 1000);
  }

  get channels() {
    return new Map([...this._rooms].map(([name, room]) => [name, room.best()]));
  }

  join(name, { presence = "none" } = {}) {
    if (!LEVELS.includes(presence)) throw new TypeError("presence: use list, count or none");
    const room = this._rooms.get(name) ?? new Room(this, name);
    const ch = new Channel(room, presence);
    if (this.state == "closed") ch._reject(new RollcallError("closed"));
    room.welcome(ch);
    room.adjust();
    return ch;
  }

  async authenticate(token) {
    token = trim(token);
    const { user } = await this._command({ type: "authenticate", token });
    Object.assign(this, { user, _token: token });
    this._renewBefore(token);
    this._emit("user", user);
    return user;
  }

  async send(channels, message, { echo } = {}) {
    await this._command({ type: "send", channels, message, echo });
  }

  async setStatus(status) {
    const own = (this._status = { status, id: this.user?.id });
    if (this.state != "open") return;
    await this._command({ type: "status", status });
    if (!status && this._status == own) this._status = null;
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
    const ws = (this._ws = new this._WebSocket(this.url, "rollcall.v1"));
    ws.onerror = () => {}; // without a listener, the error of "ws" would end Node.js; a close follows
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

    const room = this._rooms.get(channel);
    const error = type == "error" && new RollcallError(code, message);
    if (this._commands.has(id)) this._commands.get(id)(error, frame);
    else if (error) this._emit("error", error);
    else if (type == "presence") room?.diff(frame);
    else if (type == "message") {
      const args = [type, message, from, ...(backend ? [true] : [])];
      channel == this.tab ? this._emit(...args) : room?.each((ch) => ch._emit(...args));
    } else if (type == "left" && reason) room?.each((ch) => ch._fail(new RollcallError(reason)));
    else if (type == "joined" && id == null) this._assign(frame);
    else if (type == "welcome") this._welcome(frame);
  }

  async _welcome({ connection, channel, user }) {
    const run = this._run;
    Object.assign(this, { connection, user, tab: channel });
    try {
      if (this._token) await this.authenticate(this._token);
    } catch (e) {
      if (run == this._run) this._emit("error", e);
      if (run == this._run) this._lost({ bad_token: 4001, denied: 4005 }[e.code] ?? 1006, e.code);
    }
    if (run != this._run) return;
    // The expired login was not renewed: a user must not become anonymous unnoticed.
    if (this._stale && !this.user) return this._lost(4001, this._why);
    this._stale = null;
    this._stable = setTimeout(() => (this._attempt = 0), 5_000);
    this._set("open", "welcome");
    for (const room of [...this._rooms.values()]) room.adjust();
    if (run == this._run) this._restore(run);
  }

  // The server has joined this connection to a channel.
  _assign(frame) {
    const name = frame.channel;
    const room = this._rooms.get(name) ?? new Room(this, name);
    room.assigned = true;
    let ch = [...room.holders].find((ch) => ch.assigned);
    if (!ch) {
      ch = new Channel(room, "none", true);
      this._emit("assigned", ch);
    }
    if (room.own) room.welcome(ch);
    else room.snapshot(frame);
  }

  // After a reconnection: the status, and the end of assignments that are no more.
  async _restore(run) {
    const own = this._status;
    if (own && (own.id ?? this.user?.id) == this.user?.id)
      this.setStatus(own.status).catch((e) => run == this._run && this._emit("error", e));
    const gone = (ch) => ch.assigned && !ch._room.assigned;
    if (![...this._rooms.values()].some((room) => [...room.holders].some(gone))) return;
    await sleep(TIMEOUT); // when many clients reconnect together, the server needs a while
    if (run == this._run) this._each((ch) => gone(ch) && ch._fail(new RollcallError("removed")));
  }

  // Logs in again in time, if getToken can. After a failure, it tries again with what is left.
  _renewBefore(token) {
    clearTimeout(this._renewal);
    const left = lifetime(token);
    if (!this._getToken || !(left > 0)) return;
    const run = this._run;
    const renew = async () => {
      let code = "token";
      try {
        const late = sleep(TIMEOUT).then(() => Promise.reject(new Error("getToken took too long")));
        const next = trim(await Promise.race([this._getToken(), late]));
        if (run != this._run) return;
        if (!next) throw new Error("getToken returned no token");
        code = 0;
        await this.authenticate(next);
      } catch (e) {
        if (run != this._run) return;
        this._renewBefore(token);
        this._emit("error", code ? new RollcallError(code, e?.message) : e);
      }
    };
    this._renewal = setTimeout(renew, Math.min(Math.max(left * (0.7 + Math.random() * 0.2), 10_000), 2 ** 31 - 1));
  }

  _each(f) {
    for (const room of [...this._rooms.values()]) room.each(f);
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
    this._each((ch) => ch._reject(new RollcallError("closed", reason)));
    this._set("closed", reason, code);
  }

  _set(state, reason, code, delay) {
    Object.assign(this, { state, _code: code });
    this._emit("state", { state, reason, code, delay });
  }

  _drop() {
    this._run++;
    this._patience = 0;
    for (const timer of [this._beat, this._stable, this._timer, this._renewal]) clearTimeout(timer);
    this._ws?.close();
    this._ws = this.connection = this.tab = this.user = null;
    for (const room of this._rooms.values()) {
      Object.assign(room, { synced: false, there: false, asked: null, assigned: false });
      room.round++;
    }
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
