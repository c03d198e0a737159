/**
 * The Rollcall client: who is online, live, over one websocket.
 *
 * ```js
 * import { Rollcall } from "/message/client.js"; // or from "rollcall-client", the npm package
 *
 * const rc = new Rollcall({ getToken: () => fetch("/token").then((r) => r.text()) });
 * const room = rc.join("salesRoom", { presence: "list" });
 * room.on("change", () => show([...room.members.values()], room.count));
 * await room.ready;
 * ```
 *
 * It reconnects automatically and rejoins its channels. It needs a browser from 2022 or later, or
 * Node.js 22; Node.js 20 with the option `WebSocket`.
 */

/** The user that a connection is logged in as. An unknown e-mail is "". */
export interface User {
  id: string;
  email: string;
  /** What the token says of the user, if anything. */
  info?: { [key: string]: any };
}

/** A member of a channel, with the keys that the site shows. */
export interface Member {
  id: string;
  email?: string;
  info?: any;
  /** What the user has set with {@link Rollcall.setStatus}. */
  status?: { [key: string]: any };
}

/** The sender of a message, with `email` if the site shows it. */
export interface Sender {
  id: string;
  email?: string;
}

/** A permission beside that to listen. */
export type Permission = "send" | "see" | (string & {});

/** The kind of a channel, the same for all its listeners. */
export type Kind = "authenticated" | "anonymous" | "private";

/** How much of a channel's presence is received: its members, only their number, or nothing. */
export type Presence = "list" | "count" | "none";

/**
 * - `connecting`: connecting or logging in
 * - `open`: connected; channels are now joined, or rejoined
 * - `waiting`: reconnects after `delay` ms
 * - `closed`: connects only on {@link Rollcall.connect}
 */
export type State = "connecting" | "open" | "waiting" | "closed";

/**
 * Why the state changed.
 *
 * | state | reasons |
 * | --- | --- |
 * | connecting | `start`, `retry` |
 * | open | `welcome` |
 * | waiting or closed, by close code | `going_away` 1001, `policy` 1008, `too_large` 1009, `draining` 1012, `token_expired` 4001, `disconnected` 4002, `origin` 4003, `refused` 4005, `limit` 4008, `slow_consumer` 4100, `rate_limited` 4108, `unavailable` 4110; `lost` for any other |
 * | waiting, without a close code | `timeout` while connecting, `silent` (a ping was not answered), `token` (getToken failed, or took over 10 s), `online` (the network is back), `visible` (the page is visible again) |
 * | waiting or closed, after a failed login | the code of the error, such as `bad_token` or `unavailable` |
 * | closed | `closed` by {@link Rollcall.close} |
 *
 * After a close code of 4000 to 4099, the state becomes `closed`; after 4100 to 4199, the wait is
 * longer; after 4200 to 4299, the client reconnects at once. After 1012, the server sets the wait.
 * After 4001, the client reconnects with another token, or with cookies. The state becomes `closed`
 * if getToken returns no other token, if the next token is refused, too, or if the new connection
 * is anonymous.
 *
 * In the state `open`, the client sends a ping when nothing arrived for the server's ping interval
 * (10 s for the answer), and when the network comes or goes, the page becomes visible or resumes,
 * or a command times out (5 s).
 */
export type Reason =
  | "start" | "retry" | "welcome"
  | "going_away" | "policy" | "too_large" | "draining" | "token_expired" | "disconnected" | "origin" | "refused" | "limit"
  | "slow_consumer" | "rate_limited" | "lost"
  | "timeout" | "silent" | "token" | "online" | "visible" | "closed"
  | "bad_token" | "denied" | "unavailable" | (string & {});

export interface StateChange {
  state: State;
  reason: Reason;
  /** The close code; 1006 if there was none. With `waiting` and `closed`. */
  code?: number;
  /** Milliseconds until the next attempt. With `waiting`. */
  delay?: number;
}

/**
 * Codes of errors. The server sends those of the protocol, and `removed`. The client adds `timeout`
 * (no answer within 10 s), `offline` (not connected, or no longer), `closed` (the state became
 * closed), `left` (by {@link Channel.leave}) and `token` (see {@link Options.getToken}).
 */
export type ErrorCode =
  | "bad_frame" | "unknown_type" | "bad_channel" | "reserved_channel" | "login_required" | "denied" | "not_joined"
  | "bad_token" | "too_many_channels" | "rate_limited" | "too_large" | "unavailable"
  | "removed" | "timeout" | "offline" | "closed" | "left" | "token" | (string & {});

export class RollcallError extends Error {
  constructor(code: ErrorCode, message?: string);
  readonly code: ErrorCode;
}

/** A message: any object with a JSON form. */
export type Message = { [key: string]: any };

/**
 * Arguments of the listeners of a channel's events. With `presence` "none", there is no `join`,
 * `leave` or `update`.
 */
export interface ChannelEvents<M = Message> {
  /** A new snapshot arrived: after joining, after reconnecting, or after a lost frame. */
  sync: [channel: Channel<M>];
  /** Members, count or kind may have changed, for any reason: the only event that a view needs. */
  change: [channel: Channel<M>];
  /** A user joined with a first connection. */
  join: [member: Member];
  /** A user left with the last connection. */
  leave: [member: Member];
  /** What is shown of a member changed. */
  update: [member: Member];
  /**
   * A connection, possibly this one, or the backend sent a message to the channel. `from` is null
   * for an anonymous connection and for the backend. `backend` is true for the backend, which no
   * other sender can forge, and undefined otherwise. Messages that are sent while this connection
   * is lost do not arrive later.
   */
  message: [message: M, from: Sender | null, backend?: true];
  /**
   * The channel ended: the join was refused, the permission to listen was withdrawn (`denied`), or
   * the backend removed the user or ended the assignment (`removed`).
   */
  error: [error: RollcallError];
}

/**
 * A hold on a channel: each {@link Rollcall.join} returns one of its own. The connection leaves the
 * channel with the last, and the server is asked for the most presence that any of them wants.
 * `M` is the type of the channel's messages.
 */
export class Channel<M = Message> {
  private constructor();
  readonly name: string;
  /** What this holder asked for, and all that it sees. */
  readonly presence: Presence;
  /** Whether the server joined the channel, see `assigned` in {@link RollcallEvents}. */
  readonly assigned: boolean;
  /** Null until the channel is joined. With `presence` "none", the kind at the last join. */
  readonly kind: Kind | null;
  /** Permissions of this connection, if the channel needs a grant; null if not. */
  readonly may: readonly Permission[] | null;
  /** Whether members are listed. If false, the channel has too many, and `count` alone is known. */
  readonly names: boolean;
  /** Members, by user id. Empty unless `presence` is "list" and the channel is authenticated. */
  readonly members: ReadonlyMap<string, Member>;
  /**
   * Number of users of an authenticated channel, of connections of an anonymous one. Null until
   * known.
   */
  readonly count: number | null;
  /** Whether members and count are up to date. While reconnecting, they keep their last values. */
  readonly synced: boolean;
  /**
   * Resolves when the channel is joined for the first time. Rejects with a {@link RollcallError} if
   * the join is refused or impossible, for example because the state is `closed`. {@link
   * Rollcall.connect} replaces it with a new promise.
   */
  readonly ready: Promise<this>;
  /** Adds a listener, and returns the function that removes it. */
  on<E extends keyof ChannelEvents<M>>(event: E, listener: (...values: ChannelEvents<M>[E]) => void): () => void;
  /** Sends a message to all listeners of the channel. See {@link Rollcall.send}. */
  send(message: M, options?: SendOptions): Promise<void>;
  /** Ends this hold for good; others stay. Never rejects. */
  leave(): Promise<void>;
}

export interface SendOptions {
  /** Default: true. If false, this connection does not receive the message. */
  echo?: boolean;
}

/** Arguments of the listeners of a connection's events. */
export interface RollcallEvents {
  state: [change: StateChange];
  /**
   * The connection logged in: when it opened, by {@link Rollcall.authenticate}, or because getToken
   * gave a newer token.
   */
  user: [user: User];
  /**
   * The backend sent a message to this connection alone, through its private channel {@link
   * Rollcall.tab}.
   */
  message: [message: Message, from: null, backend?: true];
  /**
   * The server joined a channel for this connection, as the backend assigned. The channel has
   * `presence` "none"; {@link Rollcall.join} it, too, to see members.
   */
  assigned: [channel: Channel];
  /** An error that belongs to no channel, such as a refused token. */
  error: [error: RollcallError];
}

export interface Options {
  /**
   * Default: `socket` next to client.js, to which a URL is relative; http and https stand for ws
   * and wss. In a bundle and in the npm package, the default is `/message/socket`, and a URL is
   * relative to the page. Node.js has no page: give a whole URL.
   */
  url?: string | URL;
  /**
   * The class to connect with, such as that of the npm package `ws`. Default: the global one, which
   * browsers and Node.js 22 have; without either, the constructor throws a TypeError.
   */
  WebSocket?: new (url: any, protocol: any) => {
    send(text: string): void;
    close(): void;
    onmessage: any;
    onclose: any;
    onerror: any;
  };
  /**
   * Returns the token to log in with; null to stay anonymous. It is called for each connection, and
   * again later if it fails or takes over 10 s. When a token has expired or is refused, getToken
   * must return another one. If it returns the same one or none, or if the second one is refused,
   * too, the state becomes `closed`.
   *
   * If the token is a JWT with `exp`, getToken is called for a newer one after 70 to 90 percent of
   * its time, and the connection stays. If that fails, there is an `error` event, with the code
   * `token` if it is getToken that failed, and it is called again after as much of what is left,
   * but at least 10 s.
   *
   * Tokens are sent in a frame, never in the URL, and without surrounding white space. Without
   * getToken, the cookies log in, or the last token of {@link Rollcall.authenticate}, until it has
   * expired.
   */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>;
}

/** A connection that is re-established until it is closed. */
export class Rollcall {
  /** Connects at once. */
  constructor(options?: Options);
  readonly url: URL;
  readonly state: State;
  /** The connection's id; null while not connected. */
  readonly connection: string | null;
  /** The connection's private channel, `tab|` and its id; null while not connected. */
  readonly tab: string | null;
  /** The user of the connection; null if it is anonymous, and while not connected. */
  readonly user: User | null;
  /** The channels joined or to be joined, by name: of each, the hold that sees the most. */
  readonly channels: ReadonlyMap<string, Channel>;
  /** Adds a listener, and returns the function that removes it. */
  on<E extends keyof RollcallEvents>(event: E, listener: (...values: RollcallEvents[E]) => void): () => void;
  /**
   * Joins a channel, now or when connected, and again after each reconnection. Each call returns a
   * hold of its own, to be left on its own: `join<Chat>("room")` for messages of the type Chat.
   */
  join<M = Message>(name: string, options?: { /** Default: none. */ presence?: Presence }): Channel<M>;
  /**
   * Logs in, or renews the login before its token expires, without leaving channels. If the token
   * is refused, it rejects with `bad_token`, if a plugin refuses the login with `denied`, and if a
   * plugin failed with `unavailable`; nothing changes then.
   */
  authenticate(token: string): Promise<User>;
  /**
   * Sends a message to all listeners of up to 128 channels, each of which must be joined. It
   * resolves when the server has accepted the message. It rejects with `not_joined`, `rate_limited`
   * (the server cannot deliver that fast: try again later), `denied` (a permission is missing, or a
   * plugin refuses the message), `unavailable` (a plugin failed, for example: try again later),
   * `too_large`, or `offline` before it was sent; then no listener gets it. If it rejects with `timeout`, or with `offline` after it was
   * sent, the server may have accepted it.
   */
  send(channels: string[], message: object, options?: SendOptions): Promise<void>;
  /**
   * Sets what members of the user's channels see as `status`, now or when connected, and again after
   * each reconnection; null removes it. It belongs to the user: the last one set on any connection
   * counts.
   */
  setStatus(status: { [key: string]: any } | null): Promise<void>;
  /**
   * After `closed`, connects again, with the same channels; while `waiting`, connects now.
   * Otherwise, does nothing.
   */
  connect(): void;
  /** Closes the connection. {@link Rollcall.connect} joins its channels again. */
  close(): void;
}
