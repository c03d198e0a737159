// Package docs tests the documentation: it runs the examples of README.md and docs/ against the
// built binary, and looks for names from the code in the pages.
//
// HTML comments, which readers do not see, tell the tests what to do with a page:
//
//	<!-- test: serve Caddyfile ada:sales,lobby :lobby -->
//
// starts Caddy with that file of the repository, or with the next Caddyfile block if no file is
// named, and opens connections: each is a user, empty for an anonymous one, and the channels to
// join. It lasts until the next such comment. With a block, Caddy and the shell examples share a
// folder, in which the block is the Caddyfile. A client of Pusher's protocol has @ in place of the
// colon, and signs in if the name ends with an exclamation mark: "ada!@presence-room".
//
//	<!-- test: deploy web-1:ada:sales web-2:: -->
//
// starts the three pods of examples/cluster instead, and opens connections: each is a pod, a user
// and channels. The addresses that the example prints stand for these pods.
//
//	<!-- test: pod kill web-3 -->
//
// passes a command to the script of the example, and waits until web-1 misses that pod.
//
//	<!-- test: caddyfile -->
//
// replaces the Caddyfile with the next Caddyfile block, for "caddy reload".
//
//	<!-- test: run -->
//
// runs the next sh block and compares its output with the block after it. Words after run change
// that. A number repeats it; the last run counts. "until" repeats it until the output is as shown.
// With "fails", its status must not be 0, and standard error is compared. With "numbers", numbers
// and hashes may differ.
//
//	<!-- test: frames -->
//
// plays the next text block: "ada> FRAME" is sent, "ada< FRAME" must come next. A new name opens a
// connection. With "unordered", a frame may come before the one that is shown before it.
//
//	<!-- test: pusher -->
//
// does so for Pusher's protocol. SIGNATURE stands for the right one, and texts of errors may
// differ.
//
//	<!-- test: error TEXT -->
//
// states that the next Caddyfile block is refused with that text.
package docs
