package rollcall

// Level is how serious a log line is.
type Level int32

// The levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Log writes a line to Caddy's log, named by the plugin and its host. A line is cut at 1 KiB, and a plugin that writes
// more than a few lines a second loses some: Rollcall counts them.
func Log(level Level, text string) {
	writeLog(level, text)
}

// RequestBody returns the JSON body of the HTTP request that is being answered, without its API key. It works in the
// members and shape hooks, and returns nil elsewhere. The bytes are valid until the hook returns.
func RequestBody() []byte {
	n := readRequest(body)
	if n > len(body) {
		body = make([]byte, max(n, minBody))
		n = readRequest(body)
	}
	if n <= 0 || n > len(body) {
		return nil
	}
	return body[:n:n]
}

const minBody = 1 << 10 // bytes

// body has been large enough for the bodies so far.
var body []byte
