// A server that is not there ends neither Node.js nor the client.
import { Rollcall } from "rollcall-client";
import WebSocket from "ws";

const rollcall = new Rollcall({ url: "ws://localhost:1/message/socket", WebSocket });
rollcall.on("state", ({ state, reason, code }) => {
  console.log(state, reason, code);
  if (state == "waiting") rollcall.connect(); // and closes while it connects
  if (state == "connecting") rollcall.close();
});
