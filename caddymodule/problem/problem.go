// Package problem writes errors as HTTP answers (RFC 9457), for the endpoints and for websocket
// handshakes.
package problem

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// Problem is an error as an HTTP answer (RFC 9457).
type Problem struct {
	Status int
	Code   string // stable, for programs
	Detail string // for people; never contains input
	// Channel is the channel of bad_channel, and of a message that is denied; "" with other codes.
	Channel string
	Retry   time.Duration
	allow   string         // allowed methods, for 405
	truth   *cluster.Truth // completeness, for incomplete
}

// Write sends the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	body, _ := json.Marshal(struct { // never fails for strings and numbers
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
		// An extension member (RFC 9457 section 3.2).
		Channel string `json:"channel,omitempty"`
	}{"about:blank", http.StatusText(p.Status), p.Status, p.Detail, p.Code, p.Channel})
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	SetHeaders(header, len(body), p.Retry, p.allow, p.truth)
	switch {
	case p.Code == "encoded_body":
		header.Set("Accept-Encoding", "identity") // RFC 9110 section 15.5.16
	case p.Code == "bad_token":
		header.Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750 section 3
	case p.Code == "login_required":
		header.Set("WWW-Authenticate", `Login realm="rollcall_console"`) // not Basic: the browser would ask
	case p.Status == http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `ApiKey realm="rollcall"`)
	case p.Status == http.StatusUpgradeRequired:
		header.Set("Upgrade", "websocket")
		header.Set("Connection", "Upgrade")
		header.Set("Sec-WebSocket-Version", "13")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // if it fails, the client is gone
}

// SetHeaders sets the headers of every error: the size of the body, when to retry, the allowed
// methods, and the completeness. Zero values are left out.
func SetHeaders(header http.Header, size int, retry time.Duration, allow string, truth *cluster.Truth) {
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(size))
	if retry > 0 {
		header.Set("Retry-After", strconv.Itoa(int((retry+time.Second-1)/time.Second)))
	}
	if allow != "" {
		header.Set("Allow", allow)
	}
	if truth != nil {
		SetTruth(header, *truth)
	}
}

// DrainRetry is when clients of a process that stops should retry.
const DrainRetry = time.Second

// Draining is the answer while the process stops.
func Draining() *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "draining",
		Detail: "this server is stopping: retry", Retry: DrainRetry,
	}
}

// Reloaded is the answer to a request whose site left the configuration while it waited.
func Reloaded() *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "reloaded",
		Detail: "the configuration was replaced and has no such site: retry over a new connection", Retry: DrainRetry,
	}
}

// Misdirected is the answer to a request for a host that another site owns (RFC 9110 section
// 15.5.20).
func Misdirected() *Problem {
	return &Problem{
		Status: http.StatusMisdirectedRequest, Code: "misdirected",
		Detail: "this host is not served here: use the address of its site",
	}
}

// incompleteRetry is when a backend that needs a complete answer should retry.
const incompleteRetry = time.Second

// Incomplete is the answer to a request with requireComplete if pods are missing. It names them.
func Incomplete(t cluster.Truth) *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "incomplete",
		Detail: "not every pod has replied: retry, or leave out requireComplete", Retry: incompleteRetry, truth: &t,
	}
}

// PluginFailed is the answer if a plugin failed whose policy is to deny.
func PluginFailed() *Problem {
	return &Problem{
		Status: http.StatusBadGateway, Code: "plugin_failed",
		Detail: "a plugin of this site failed, so the answer is withheld: see the server's log",
	}
}

// MethodNotAllowed is the answer to other methods than the allowed ones, which are separated by
// commas.
func MethodNotAllowed(allow string) *Problem {
	return &Problem{
		Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
		Detail: "use " + allow, allow: allow,
	}
}

// TooEarly is the answer to a request by 0-RTT: it can be a replay, from an address that is not its
// sender's (RFC 8470).
func TooEarly() *Problem {
	return &Problem{
		Status: http.StatusTooEarly, Code: "too_early", Detail: "send the request again when the TLS handshake is complete",
	}
}

// EncodedBody is the answer to a compressed body.
func EncodedBody() *Problem {
	return &Problem{
		Status: http.StatusUnsupportedMediaType, Code: "encoded_body",
		Detail: "the body has a Content-Encoding: send it uncompressed",
	}
}

// BadHost is the answer to a Host header that is not a domain name.
func BadHost() *Problem {
	return &Problem{
		Status: http.StatusBadRequest, Code: "bad_host", Detail: "the Host header is not a domain name",
	}
}

// BadValue is the answer to a value of the wrong kind.
func BadValue(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Code: "bad_value", Detail: fmt.Sprintf(format, args...)}
}

// SetTruth sets the headers that say whether an answer is complete.
func SetTruth(header http.Header, t cluster.Truth) {
	header.Set("Rollcall-Complete", strconv.FormatBool(t.Complete))
	if len(t.Missing) > 0 {
		header.Set("Rollcall-Missing", strings.Join(t.Missing, ", "))
	}
}
