// Clients of tests, by name. They note their states, errors and events.
"use strict";

globalThis.clients = new Map();
globalThis.noted = new Map(); // lists of what happened, by client

function note(name, what) {
	if (!noted.has(name)) noted.set(name, []);
	noted.get(name).push(what);
}

// happened counts what a client has noted.
globalThis.happened = (name, what) => (noted.get(name) ?? []).filter((n) => n === what).length;

// sign makes channel authorizations as a backend does, with the user and the info of a presence channel.
function sign({ id, key, secret }, user, info) {
	const server = new Server({ appId: id, key, secret });
	return {
		channelAuthorization: {
			customHandler: ({ socketId, channelName }, callback) => {
				const member = channelName.startsWith("presence-") ? { user_id: user, user_info: info } : undefined;
				callback(null, server.authorizeChannel(socketId, channelName, member));
			},
		},
		userAuthentication: {
			customHandler: ({ socketId }, callback) => callback(null, server.authenticateUser(socketId, { id: user, ...info })),
		},
	};
}

// connect makes a client of pusher-js. If user is given, it signs as a backend for that user.
globalThis.connect = (name, options, user, info) => {
	const pusher = new Pusher(options.key, { ...(user && sign(options, user, info)), ...options });
	clients.set(name, pusher);
	pusher.connection.bind("state_change", ({ current }) => note(name, current));
	pusher.connection.bind("error", (error) => note(name, `error ${error?.data?.code ?? error?.error?.data?.code ?? "?"}`));
	return pusher;
};

globalThis.client = (name) => clients.get(name);

// follow subscribes and notes the events of the channel: "EVENT CHANNEL DATA USER".
globalThis.follow = (name, channelName) => {
	const channel = client(name).subscribe(channelName);
	channel.bind_global((event, data, metadata) => {
		if (event.startsWith("pusher_internal:")) return;
		const user = metadata?.user_id ? ` ${metadata.user_id}` : "";
		note(name, event.startsWith("pusher:member_") || event === "pusher:subscription_succeeded"
			? `${event} ${channelName}${data?.id ? ` ${data.id}` : ""}`
			: `${event} ${channelName} ${JSON.stringify(data)}${user}`);
	});
	return channel;
};

// membersOf lists the members of a presence channel, sorted.
globalThis.membersOf = (name, channelName) => {
	const ids = [];
	client(name).channel(channelName).members.each(({ id }) => ids.push(id));
	return ids.sort().join();
};

globalThis.connectMany = (n, options) => {
	for (let i = 0; i < n; i++) {
		connect(`many-${i}`, options).connection.bind("pong", () => note(`many-${i}`, "pong"));
		clients.get(`many-${i}`).connection.bind("message", ({ event }) => event === "pusher:pong" && note(`many-${i}`, "pong"));
	}
};
globalThis.inState = (state) => [...clients.values()].filter((p) => p.connection.state === state).length;
globalThis.pingAll = () => clients.forEach((p) => p.send_event("pusher:ping", {}));
globalThis.pongs = () => [...clients.keys()].filter((name) => happened(name, "pong") > 0).length;
// drops counts clients that lost a connection.
globalThis.drops = () => [...clients.keys()].filter((name) => happened(name, "connected") > 1).length;
globalThis.errorCodes = () => {
	const codes = {};
	for (const list of noted.values())
		for (const what of list) if (what.startsWith("error ")) codes[what.slice(6)] = (codes[what.slice(6)] ?? 0) + 1;
	return codes;
};

globalThis.report = () => JSON.stringify([...noted].slice(0, 20).map(([name, list]) => [name, list.slice(-12)]));
