/**
 * React hooks for Rollcall, for React 18 and later.
 *
 * ```jsx
 * import { RollcallProvider, useChannel, usePresence } from "rollcall-client/react";
 *
 * function Room() {
 *   const { members } = usePresence("salesRoom");
 *   const { send } = useChannel("salesRoom", { onMessage: (message) => console.log(message.text) });
 *   return <button onClick={() => send({ text: "hello" })}>Greet {members.length}</button>;
 * }
 *
 * <RollcallProvider getToken={() => fetch("/token").then((r) => r.text())}><Room /></RollcallProvider>;
 * ```
 *
 * Components that use the same channel share one membership: it begins with the first of them, and
 * ends when the last one unmounts. Nothing connects or joins while rendering, so also not on a server.
 */
import type { ReactElement, ReactNode } from "react";
import type { Channel, Kind, Member, Message, Options, Permission, Rollcall, RollcallError, SendOptions, Sender, StateChange, User } from "./rollcall.js";

export interface ProviderProps extends Options {
  /**
   * The connection to use, which stays open when the provider unmounts. Default: a connection of the
   * provider's own, with the other props as its options; it is open while the provider is mounted.
   */
  client?: Rollcall;
  children?: ReactNode;
}

/**
 * Gives the components below it one connection. Of its props, those of the first render count, except
 * for `getToken`, of which the last one is called. Give it another `key` to connect elsewhere.
 */
export function RollcallProvider(props: ProviderProps): ReactElement;

/** The connection, as of its last `state` or `user` event. */
export interface Connection extends Partial<Omit<StateChange, "state">> {
  /** The client; null in the first render. */
  rollcall: Rollcall | null;
  state: StateChange["state"];
  /** The user that the connection is logged in as; null if it is anonymous, and while not connected. */
  user: User | null;
}

/** Returns the connection, and renders again when its state or user changes. */
export function useRollcall(): Connection;

export interface Held<M = Message> {
  /**
   * The hold of this component, for its events; null in the first render. With useChannel, it has
   * `presence` "none": only usePresence gives `join`, `leave` and `update`.
   */
  channel: Channel<M> | null;
  /** Whether what is returned is up to date; false until joined, and while reconnecting. */
  synced: boolean;
  /**
   * Why the channel is not joined, or no longer; otherwise null. It is joined again after the next
   * login.
   */
  error: RollcallError | null;
}

export interface ChannelHook<M = Message> extends Held<M> {
  kind: Kind | null;
  may: readonly Permission[] | null;
  /** As {@link Channel.send}; it rejects with `offline` before the channel is there. */
  send(message: M, options?: SendOptions): Promise<void>;
}

/**
 * Joins a channel while the component is mounted; null joins none. `onMessage` gets what the `message`
 * event has; the one of the last render is called.
 */
export function useChannel<M = Message>(
  name: string | null,
  options?: { onMessage?: (message: M, from: Sender | null, backend?: true) => void },
): ChannelHook<M>;

export interface PresenceHook extends Held {
  /** Empty with `presence` "count", until joined, and while there are too many to list. */
  members: readonly Member[];
  /** Users, or connections of an anonymous channel; null until known. */
  count: number | null;
  /** False while the channel has too many members to list. */
  names: boolean;
}

/**
 * Joins a channel while the component is mounted, and returns who is there, or with `presence`
 * "count" how many; null joins none.
 */
export function usePresence(name: string | null, options?: { /** Default: list. */ presence?: "list" | "count" }): PresenceHook;
