"use client"; // for frameworks that also render on the server; documented in react.d.ts
import { createContext, createElement, useCallback, useContext, useEffect, useRef, useState } from "react";
import { Rollcall, RollcallError } from "./rollcall.js";

const Context = createContext(null);
const NOTHING = Object.freeze({});
const NOBODY = Object.freeze([]);
// Components that unmount together leave in this order: a channel is not joined with less before it is
// left.
const TURNS = { none: 1, count: 2, list: 3 };

async function after(microtasks, end) {
  for (let i = 0; i < microtasks; i++) await null;
  end();
}

// A connection for as long as mounted components use it. Only effects use it: React may render what it
// never mounts. A use ends in microtasks, so an effect that runs again at once, as in strict mode or
// after a hot update, finds the connection and its channels as they were.
class Shared {
  uses = 0;
  client = null;

  constructor(props) {
    this.props = props;
  }

  acquire() {
    const { client, url, getToken, WebSocket } = this.props;
    this.uses++;
    return (this.client ??= client ?? new Rollcall({ url, WebSocket, getToken: getToken && (() => this.props.getToken()) }));
  }

  release() {
    if (--this.uses) return;
    if (!this.props.client) this.client.close();
    this.client = null;
  }
}

export function RollcallProvider({ children, ...props }) {
  const [shared] = useState(() => new Shared(props));
  useEffect(() => {
    shared.props = { ...shared.props, getToken: props.getToken };
  });
  useEffect(() => {
    shared.acquire();
    return () => after(1, () => shared.release());
  }, [shared]);
  return createElement(Context.Provider, { value: shared }, children);
}

function useShared() {
  const shared = useContext(Context);
  if (!shared) throw new Error("no RollcallProvider above this component");
  return shared;
}

export function useRollcall() {
  const shared = useShared();
  const [value, setValue] = useState({ rollcall: null, state: "connecting", user: null });
  useEffect(() => {
    const rollcall = shared.acquire();
    const read = (change) => setValue((old) => ({ ...old, ...change, rollcall, state: rollcall.state, user: rollcall.user }));
    // A change without a delay ends the last one.
    const ends = [rollcall.on("state", (change) => read({ code: undefined, delay: undefined, ...change })), rollcall.on("user", () => read())];
    read();
    return () => {
      for (const end of ends) end();
      after(1, () => shared.release());
    };
  }, [shared]);
  return value;
}

// Holds a channel while mounted. Holds of one channel share a membership, which the client counts.
function useHold(name, presence, onMessage) {
  const shared = useShared();
  const [value, setValue] = useState(NOTHING);
  const listener = useRef();
  useEffect(() => {
    listener.current = onMessage;
  });
  useEffect(() => {
    if (name == null) return;
    const rollcall = shared.acquire();
    let channel, error, mounted = true;
    const read = () => {
      if (!mounted) return;
      const { kind, may, members, count, names, synced } = channel;
      setValue({ shared, presence, name, channel, error, kind, may, members: [...members.values()], count, names, synced });
    };
    const join = () => {
      error = null;
      channel = rollcall.join(name, { presence });
      channel.on("change", read);
      channel.on("message", (...message) => mounted && listener.current?.(...message));
      channel.on("error", (e) => {
        error = e;
        read();
      });
      read();
    };
    // Another login may be let in.
    const ends = [rollcall.on("state", read), rollcall.on("user", () => error && join())];
    join();
    return () => {
      mounted = false;
      for (const end of ends) end();
      after(TURNS[presence], () => {
        channel.leave();
        shared.release();
      });
    };
  }, [shared, name, presence]);
  // What is known of the last channel is not shown for the next one.
  return value.shared == shared && value.name == name && value.presence == presence ? value : NOTHING;
}

export function useChannel(name, { onMessage } = {}) {
  const { channel = null, kind = null, may = null, synced = false, error = null } = useHold(name, "none", onMessage);
  const send = useCallback(
    async (message, options) => {
      if (!channel) throw new RollcallError("offline");
      await channel.send(message, options);
    },
    [channel],
  );
  return { channel, kind, may, synced, error, send };
}

export function usePresence(name, { presence = "list" } = {}) {
  const { channel = null, members = NOBODY, count = null, names = true, synced = false, error = null } = useHold(name, presence);
  return { channel, members, count, names, synced, error };
}
