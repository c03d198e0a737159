// A server with ws: connections join channels, and messages go to all connections that have joined.
import { WebSocketServer } from "ws";
import { serve } from "./serve.mjs";

const channels = new Map();
serve((server) => {
	const sockets = new WebSocketServer({ server });
	sockets.on("connection", (socket) => {
		const joined = new Set();
		socket.on("message", (data) => {
			const frame = JSON.parse(data);
			switch (frame.type) {
				case "join": {
					let channel = channels.get(frame.channel);
					if (!channel) channels.set(frame.channel, (channel = new Set()));
					channel.add(socket);
					joined.add(frame.channel);
					socket.send(JSON.stringify({ type: "joined", channel: frame.channel }));
					break;
				}
				case "send": {
					// One buffer for all, as ws's users do.
					const message = Buffer.from(JSON.stringify({ type: "message", channel: frame.channel, message: frame.message }));
					for (const listener of channels.get(frame.channel) ?? []) listener.send(message, { binary: false });
					break;
				}
			}
		});
		socket.on("error", () => {});
		socket.on("close", () => {
			for (const name of joined) {
				const channel = channels.get(name);
				channel.delete(socket);
				if (channel.size === 0) channels.delete(name);
			}
		});
		socket.send(JSON.stringify({ type: "welcome" }));
	});
});
