// A server with Socket.IO: connections join rooms, and messages go to all in a room. With the address of
// a Redis as an argument, servers share rooms through it.
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { serve } from "./serve.mjs";

const options = { transports: ["websocket"], serveClient: false, perMessageDeflate: false };
const redis = process.argv[2];
if (redis) {
	const publisher = createClient({ url: `redis://${redis}` });
	const subscriber = publisher.duplicate();
	for (const client of [publisher, subscriber]) client.on("error", () => {}); // Redis may end first
	await Promise.all([publisher.connect(), subscriber.connect()]);
	options.adapter = createAdapter(publisher, subscriber);
}
serve((server) => {
	const io = new Server(server, options);
	io.on("connection", (socket) => {
		socket.on("join", (channel) => {
			socket.join(channel);
			socket.emit("joined", channel);
		});
		socket.on("send", (channel, message) => io.to(channel).emit("message", channel, message));
	});
});
