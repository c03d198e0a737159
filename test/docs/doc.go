// Package docs holds the tests of the documentation: what README.md and docs/ show is run against the built binary,
// and what the code can say is looked for in the pages.
//
// A page tells the tests what to do with HTML comments, which readers do not see:
//
//	<!-- test: serve Caddyfile ada:sales,lobby :lobby -->
//
// starts Caddy with that file of the repository, or with the Caddyfile block that follows when there is no file, and
// opens connections: each a user, empty for an anonymous one, and the channels to join. It holds up to the next one.
// With a block, Caddy and the shell examples share a folder, in which the block is the Caddyfile.
//
//	<!-- test: deploy web-1:ada:sales web-2:: -->
//
// starts the three pods of examples/cluster instead, and opens connections: a pod, a user and channels. The addresses
// that the example prints are those of these pods.
//
//	<!-- test: pod kill web-3 -->
//
// gives the script of the example a command, and waits until web-1 misses that pod.
//
//	<!-- test: caddyfile -->
//
// puts the Caddyfile block that follows in its place, for "caddy reload".
//
//	<!-- test: run -->
//
// runs the sh block that follows and compares what it prints with the block after it. Words after run change that: a
// number repeats it, and the last time counts; "until" repeats it until it prints what is shown; "fails" says that it
// ends with a status other than 0, and what it prints to standard error is compared; with "numbers", numbers and hashes
// may differ.
//
//	<!-- test: frames -->
//
// plays the text block that follows: "ada> FRAME" is sent, "ada< FRAME" must come next. A name opens a connection when
// it is first met. With "unordered" a frame may come before the one that is shown before it.
//
//	<!-- test: error TEXT -->
//
// says that the Caddyfile block that follows is refused with that text.
package docs
