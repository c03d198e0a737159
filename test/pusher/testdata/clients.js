// Clients of tests, by name. They note their states, errors and events.
"use strict";

globalThis.clients = new Map();
globalThis.noted = new Map(); // lists of what happened, by client

globalThis.note = (name, what) => {
	if (!noted.has(name)) noted.set(name, []);
	noted.get(name).push(what);
};

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

// contradictions lists additions of members that are there, and removals of those that are not.
globalThis.contradictions = (name) => {
	const there = new Set(), found = [];
	for (const what of noted.get(name) ?? []) {
		const [event, channelName, id] = what.split(" ");
		const member = `${channelName} ${id}`;
		if (event === "pusher:member_added") {
			if (there.has(member)) found.push(what);
			there.add(member);
		}
		if (event === "pusher:member_removed" && !there.delete(member)) found.push(what);
	}
	return found;
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

// stragglers names clients of a crowd that are not where they should be.
globalThis.stragglers = () => [];

globalThis.report = () => JSON.stringify(stragglers()) +  JSON.stringify([...noted].slice(0, 20).map(([name, list]) => [name, list.slice(-12)]));

// crowd connects n clients over a proxy to the port, each in a presence channel with perRoom others.
globalThis.crowd = async (process, n, perRoom, options, port) => {
	const net = require("node:net");
	let target = port;
	globalThis.divert = (to) => { target = to; };
	const proxy = net.createServer((near) => {
		const far = net.connect(target, "127.0.0.1");
		near.pipe(far).pipe(near);
		near.on("error", () => far.destroy());
		far.on("error", () => near.destroy());
	});
	await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
	const at = proxy.address().port;
	const times = [];
	let removed = 0;
	const all = [];
	for (let i = 0; i < n; i++) {
		const name = `crowd-${process}-${i}`;
		const pusher = connect(name, { ...options, wsPort: at }, name, {});
		let before = false;
		pusher.connection.bind("connected", () => {
			if (before) times.push(Date.now());
			before = true;
		});
		const channel = pusher.subscribe(`presence-crowd-${process}-${Math.floor(i / perRoom)}`);
		channel.bind("pusher:member_removed", () => removed++);
		all.push([pusher, channel]);
		// The next room waits: pusher-js gives up on a connection that is not there within seconds.
		if (i % perRoom === perRoom - 1) await new Promise((resolve) => channel.bind("pusher:subscription_succeeded", resolve));
	}
	globalThis.subscribed = () => all.filter(([pusher, channel]) => pusher.connection.state === "connected" && channel.subscribed).length;
	globalThis.returned = () => times;
	globalThis.stragglers = () => all.filter(([, channel]) => !channel.subscribed).slice(0, 5)
		.map(([pusher, channel]) => [pusher.connection.state, channel.name, channel.subscriptionPending, all.length, subscribed()]);
	globalThis.departures = () => removed;
};

// echo makes a Laravel Echo whose backend signs for the user.
globalThis.echo = (name, options, backend, user) => {
	const made = new Echo({
		broadcaster: "reverb",
		Pusher,
		...options,
		authEndpoint: `${backend}/broadcasting/auth?user=${user}`,
		userAuthentication: { endpoint: `${backend}/broadcasting/user-auth?user=${user}`, headers: {} },
	});
	clients.set(name, made.connector.pusher);
	made.connector.pusher.connection.bind("state_change", ({ current }) => note(name, current));
	globalThis[name] = made;
	return made;
};
globalThis.as = (name, what) => (data) => note(name, `${what} ${JSON.stringify(data)}`);

// room joins a presence channel of an Echo and notes who is there.
globalThis.room = (name, channelName) => globalThis[name].join(channelName)
	.here((users) => note(name, `here ${users.map(({ id }) => id).sort().join()}`))
	.joining(({ id }) => note(name, `joining ${id}`))
	.leaving(({ id }) => note(name, `leaving ${id}`));
