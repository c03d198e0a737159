// Evaluates the expressions that it reads, one a line as JSON, with pusher-js, Laravel Echo and the
// server library pusher, and prints their values.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const { createRequire } = require("node:module");

const packages = createRequire(`${process.env.ROLLCALL_BROWSER_NPM}/package.json`);
globalThis.require = require;
globalThis.load = (file) => import(file);
globalThis.Pusher = packages("pusher-js");
globalThis.Server = packages("pusher");
(0, eval)(fs.readFileSync(path.join(__dirname, "clients.js"), "utf8"));

const print = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");
process.on("uncaughtException", (error) => process.stderr.write(`${error.stack}\n`));

(async () => {
	globalThis.Echo = (await import(path.join(process.env.ROLLCALL_BROWSER_NPM, "node_modules/laravel-echo/dist/echo.js"))).default;
	for await (const line of readline.createInterface({ input: process.stdin })) {
		try {
			const value = await (0, eval)(`(async () => (${JSON.parse(line)}))()`);
			print({ value: value === undefined ? null : value });
		} catch (error) {
			print({ error: String((error && error.stack) || error) });
		}
	}
	process.exit(0);
})();
