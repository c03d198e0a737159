// Package docs holds the tests of the documentation: what README.md and docs/ show is run against the built binary,
// and what the code can say is looked for in the pages.
//
// A page tells the tests what to do with HTML comments, which readers do not see:
//
//	<!-- test: serve Caddyfile ada:sales,lobby :lobby -->
//
// starts Caddy with that file of the repository, or with the Caddyfile block that follows when there is no file, and
// opens connections: each a user, empty for an anonymous one, and the channels to join. It holds up to the next one.
//
//	<!-- test: run -->
//
// runs the sh block that follows and compares what it prints with the block after it. A number after run repeats it,
// and the last time counts.
//
//	<!-- test: frames -->
//
// plays the text block that follows: "ada> FRAME" is sent, "ada< FRAME" must come next. A name opens a connection when
// it is first met.
//
//	<!-- test: error TEXT -->
//
// says that the Caddyfile block that follows is refused with that text.
package docs
