// A server with Socket.IO: connections join rooms, and messages go to all in a room.
import { Server } from "socket.io";
import { serve } from "./serve.mjs";

serve((server) => {
	const io = new Server(server, { transports: ["websocket"], serveClient: false, perMessageDeflate: false });
	io.on("connection", (socket) => {
		socket.on("join", (channel) => {
			socket.join(channel);
			socket.emit("joined", channel);
		});
		socket.on("send", (channel, message) => io.to(channel).emit("message", channel, message));
	});
});
