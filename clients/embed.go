package clients

import (
	"crypto/sha256"
	_ "embed" // for the two files
	"encoding/hex"
	"regexp"
	"strings"
)

//go:embed js/rollcall.js
var source string

// JS is the client: an ES module, to be served as text/javascript under the name client.js. Of the
// comments in js/rollcall.js, it has only the first line; code keeps its lines.
var JS = withoutComments(source)

// Types has the TypeScript declarations of JS, to be served as text/plain or
// application/typescript.
//
//go:embed js/rollcall.d.ts
var Types string

// JSETag and TypesETag are strong entity tags, quoted as in the ETag header (RFC 9110 section
// 8.8.3).
var (
	JSETag    = ETag(JS)
	TypesETag = ETag(Types)
)

var comment = regexp.MustCompile(`(?m) *// .*$`)

func withoutComments(script string) string {
	first, rest, _ := strings.Cut(script, "\n")
	return first + "\n" + comment.ReplaceAllString(rest, "")
}

// ETag returns a strong entity tag for a content, quoted.
func ETag(content string) string {
	sum := sha256.Sum256([]byte(content))
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
