import rollcall = require("rollcall-client");
import hooks = require("rollcall-client/react");

const client: rollcall.Rollcall = new rollcall.Rollcall({ url: "ws://localhost:8080/message/socket", WebSocket });
export const provider = () => hooks.RollcallProvider({ client });
