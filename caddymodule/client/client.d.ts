/**
 * The Rollcall client: who is here, live, over one websocket.
 *
 * ```js
 * import { Rollcall } from "/message/client.js";
 *
 * const rc = new Rollcall({ getToken: () => fetch("/token").then((r) => r.text()) });
 * const room = rc.join("salesRoom", { presence: "list" });
 * room.on("change", () => show([...room.members.values()], room.count));
 * await room.ready;
 * ```
 *
 * It reconnects by itself and joins its channels again. It needs a browser of 2022 or later, or Node.js 22.
 */

/** Who a connection is logged in as. An unknown e-mail is "". */
export interface User {
  id: string;
  email: string;
}

/** What a channel is; the same for all its listeners. */
export type Kind = "authenticated" | "anonymous" | "private";

/** How much is told about who is in a channel: its members, only their number, or nothing. */
export type Presence = "list" | "count" | "none";

/**
 * - `connecting`: on the way to a connection, log-in included
 * - `open`: connected; channels are joined, or joined again, from here on
 * - `waiting`: will connect again after `delay` ms
 * - `closed`: will not connect by itself; see {@link Rollcall.connect}
 */
export type State = "connecting" | "open" | "waiting" | "closed";

/**
 * Why the state changed.
 *
 * | state | reasons |
 * | --- | --- |
 * | connecting | `start`, `retry` |
 * | open | `welcome` |
 * | waiting or closed, by close code | `going_away` 1001, `policy` 1008, `too_large` 1009, `draining` 1012, `token_expired` 4001, `origin` 4003, `limit` 4008, `slow_consumer` 4100, `rate_limited` 4108; `lost` for any other |
 * | waiting, without a close code | `timeout` while connecting, `silent` (a ping was not answered), `token` (getToken failed, or took over 10 s), `online` (the network is back), `visible` (the page is) |
 * | waiting or closed, when the log-in failed | the code of the error, such as `bad_token` or `unavailable` |
 * | closed | `closed` by {@link Rollcall.close} |
 *
 * A close code of 4000 to 4099 ends in `closed`, of 4100 to 4199 in a longer wait, of 4200 to 4299 in an immediate
 * reconnection. After 1012 the wait is what the server asks for. After 4001 the client connects again, with another token
 * or with cookies. The state becomes `closed` when getToken returns no other token, the next token is refused too, or the
 * new connection is anonymous.
 *
 * `open` is put to the test by a ping when nothing came for the server's ping interval (10 s for the answer), and when the
 * network comes or goes, the page becomes visible or resumes, or a command times out (5 s).
 */
export type Reason =
  | "start" | "retry" | "welcome"
  | "going_away" | "policy" | "too_large" | "draining" | "token_expired" | "origin" | "limit"
  | "slow_consumer" | "rate_limited" | "lost"
  | "timeout" | "silent" | "token" | "online" | "visible" | "closed"
  | "bad_token" | "unavailable" | (string & {});

export interface StateChange {
  state: State;
  reason: Reason;
  /** The close code; 1006 when there was none. With `waiting` and `closed`. */
  code?: number;
  /** Milliseconds until the next attempt. With `waiting`. */
  delay?: number;
}

/**
 * Codes of errors. The server's are those of the protocol, and `removed`; the client adds `timeout` (no answer within
 * 10 s), `offline` (not connected, or no longer), `closed` (the state became closed) and `left` (by
 * {@link Channel.leave}).
 */
export type ErrorCode =
  | "bad_frame" | "unknown_type" | "bad_channel" | "reserved_channel" | "login_required" | "denied" | "not_joined"
  | "bad_token" | "too_many_channels" | "rate_limited" | "too_large" | "unavailable"
  | "removed" | "timeout" | "offline" | "closed" | "left" | (string & {});

export class RollcallError extends Error {
  constructor(code: ErrorCode, message?: string);
  readonly code: ErrorCode;
}

/** A message: any object that has a JSON form. */
export type Message = { [key: string]: any };

/** What the listeners of a channel's events are called with. */
export interface ChannelEvents {
  /** A fresh snapshot was taken: after joining, reconnecting, or when a frame was missed. */
  sync: [channel: Channel];
  /** Members or count may have changed, for whatever reason: the one event that a view needs. */
  change: [channel: Channel];
  /** A user is here with the first connection. */
  join: [user: User];
  /** A user is gone with the last connection. */
  leave: [user: User];
  /** A member's e-mail changed. */
  update: [user: User];
  /**
   * Somebody sent a message to the channel, this connection too. `from` is null for an anonymous connection and for the
   * backend; `backend` is true for the backend, which no other sender can bring about, and undefined otherwise. What is
   * sent while this connection is lost does not come.
   */
  message: [message: Message, from: User | null, backend?: true];
  /**
   * The channel ended: joining was refused, the permission to listen was withdrawn (`denied`), or the backend has taken
   * the user out (`removed`).
   */
  error: [error: RollcallError];
}

/** A channel that was joined with {@link Rollcall.join}. */
export class Channel {
  private constructor();
  readonly name: string;
  readonly presence: Presence;
  /** Null until the channel was joined. With `presence` "none" it is that of the last join. */
  readonly kind: Kind | null;
  /** Who is here, by user id. Empty unless `presence` is "list" and the channel is authenticated. */
  readonly members: ReadonlyMap<string, User>;
  /** Users of an authenticated channel, connections of an anonymous one. Null until known. */
  readonly count: number | null;
  /** Whether members and count are up to date. While reconnecting they stay as they were last known. */
  readonly synced: boolean;
  /**
   * Resolves when the channel is joined for the first time. Rejects with a {@link RollcallError} when that is refused
   * or not possible, because the state is `closed` for example. After {@link Rollcall.connect} it is a new promise.
   */
  readonly ready: Promise<this>;
  /** Adds a listener, and returns the function that removes it. */
  on<E extends keyof ChannelEvents>(event: E, listener: (...values: ChannelEvents[E]) => void): () => void;
  /** Sends a message to all who listen to the channel, this connection included. See {@link Rollcall.send}. */
  send(message: Message): Promise<void>;
  /** Leaves the channel for good. Never rejects. */
  leave(): Promise<void>;
}

/** What the listeners of a connection's events are called with. */
export interface RollcallEvents {
  state: [change: StateChange];
  /** The log-in changed in place, by {@link Rollcall.authenticate}. */
  user: [user: User];
  /** The backend sent a message to this connection alone, by its private channel {@link Rollcall.tab}. */
  message: [message: Message, from: null, backend?: true];
  /** Something failed that belongs to no channel, such as a refused token. */
  error: [error: RollcallError];
}

export interface Options {
  /**
   * Default: `socket` next to client.js. Relative to client.js; http and https stand for ws and wss.
   *
   * A bundle needs a URL, such as `/message/socket`. It is relative to the file of an ES module that a browser loads, and
   * to the page in any other bundle.
   */
  url?: string | URL;
  /**
   * Returns the token to log in with, null to stay anonymous. It is called at each connection, and again later if it
   * fails or takes over 10 s. When a token has expired or is refused, it is asked for another one: the same, none, or a
   * second one that is refused ends in the state `closed`.
   *
   * Tokens travel in a frame, never in the URL, and without white space around them. Without getToken, cookies are the
   * log-in, and then what was last given to {@link Rollcall.authenticate}, until that has expired.
   */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>;
}

/** A connection, kept up until it is closed. */
export class Rollcall {
  /** Connects at once. */
  constructor(options?: Options);
  readonly url: URL;
  readonly state: State;
  /** The connection's id; null while there is none. */
  readonly connection: string | null;
  /** The connection's private channel, `tab|` and its id; null while there is none. */
  readonly tab: string | null;
  /** Who the connection is logged in as; null for an anonymous one and while there is none. */
  readonly user: User | null;
  /** The channels joined or to be joined, by name. */
  readonly channels: ReadonlyMap<string, Channel>;
  /** Adds a listener, and returns the function that removes it. */
  on<E extends keyof RollcallEvents>(event: E, listener: (...values: RollcallEvents[E]) => void): () => void;
  /**
   * Joins a channel, now or when connected, and again after each reconnection. A channel that is joined already is
   * returned as it is; leave it first to change its presence.
   */
  join(name: string, options?: { /** Default: none. */ presence?: Presence }): Channel;
  /**
   * Logs in, or renews the log-in before its token expires, without leaving channels. Rejects with `bad_token` when
   * the token is refused, and nothing changes then.
   */
  authenticate(token: string): Promise<User>;
  /**
   * Sends a message to all who listen to one of the channels, up to 128 names, each of which has to be joined. It resolves
   * when the server has taken it. It rejects, and then nobody gets it, with `not_joined`, `rate_limited` (the server
   * cannot deliver so fast: try again later), `too_large`, or `offline` before it was sent. With `timeout`, and with
   * `offline` after it was sent, it may have been taken.
   */
  send(channels: string[], message: Message): Promise<void>;
  /** Connects again after `closed`, with the channels it had; while `waiting`, connects now. Otherwise does nothing. */
  connect(): void;
  /** Closes the connection. The channels are kept for {@link Rollcall.connect}. */
  close(): void;
}
