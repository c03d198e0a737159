package rollcall

// Level is the severity of a log line.
type Level int32

// Levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Log writes a line to Caddy's log, with the names of the plugin and its host. A line is cut at 1
// KiB. A plugin that writes more than a few lines per second loses some, which Rollcall counts.
func Log(level Level, text string) {
	writeLog(level, text)
}

// RequestBody returns the JSON body of the HTTP request that is being answered, without its API key. It works
// in the members and shape hooks, and returns nil elsewhere. The bytes are valid until the hook returns.
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

// body is as large as the largest body so far, or larger.
var body []byte
