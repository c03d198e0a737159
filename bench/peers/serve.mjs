// Common parts of the servers on Node.js. They listen on free ports of loopback, write their
// addresses to standard output, collect garbage on request (node --expose-gc), and end with
// standard input.
import { createServer } from "node:http";

const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", 4096, () => resolve(server.address().port)));

export async function serve(attach) {
	const server = createServer();
	attach(server);
	const control = createServer((_, response) => {
		globalThis.gc();
		response.end();
	});
	const [port, controlPort] = await Promise.all([listen(server), listen(control)]);
	console.log(`127.0.0.1:${port} 127.0.0.1:${controlPort}`);
	process.stdin.on("end", () => process.exit(0)).resume();
}
