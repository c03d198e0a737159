// Package problem makes answers that say what went wrong (RFC 9457), for the endpoints and for websocket handshakes.
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

// Problem is an answer that says what went wrong (RFC 9457).
type Problem struct {
	Status int
	Code   string // stable, for programs
	Detail string // for people; never any part of what was sent
	// Channel is the name that bad_channel is about, "" with any other code.
	Channel string
	Retry   time.Duration
	allow   string         // methods, with 405
	truth   *cluster.Truth // what was found out, with incomplete
}

// Write sends the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	body, _ := json.Marshal(struct { // plain texts always have a JSON form
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
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if p.Retry > 0 {
		header.Set("Retry-After", strconv.Itoa(int((p.Retry+time.Second-1)/time.Second)))
	}
	if p.allow != "" {
		header.Set("Allow", p.allow)
	}
	if p.truth != nil {
		SetTruth(header, *p.truth)
	}
	switch {
	case p.Code == "encoded_body":
		header.Set("Accept-Encoding", "identity") // RFC 9110 section 15.5.16
	case p.Code == "bad_token":
		header.Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750 section 3
	case p.Status == http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `ApiKey realm="rollcall"`)
	case p.Status == http.StatusUpgradeRequired:
		header.Set("Upgrade", "websocket")
		header.Set("Connection", "Upgrade")
		header.Set("Sec-WebSocket-Version", "13")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

// DrainRetry is when clients of a process that stops should ask again.
const DrainRetry = time.Second

// Draining answers while the process stops.
func Draining() *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "draining",
		Detail: "this server is stopping: ask again", Retry: DrainRetry,
	}
}

// Reloaded answers a request that has waited while its site left the configuration.
func Reloaded() *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "reloaded",
		Detail: "the configuration was replaced and has no such site: ask again by a new connection", Retry: DrainRetry,
	}
}

// Misdirected answers a request for a host that another site owns (RFC 9110 section 15.5.20).
func Misdirected() *Problem {
	return &Problem{
		Status: http.StatusMisdirectedRequest, Code: "misdirected",
		Detail: "this host is not served here: use the address of its site",
	}
}

// incompleteRetry is when a backend that needs a complete answer should ask again.
const incompleteRetry = time.Second

// Incomplete answers a request that asked for a complete answer, which there is not. It says which pods are missing.
func Incomplete(t cluster.Truth) *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "incomplete",
		Detail: "not every pod has answered: ask again, or without requireComplete", Retry: incompleteRetry, truth: &t,
	}
}

// PluginFailed answers when a plugin of the site failed whose policy is to deny.
func PluginFailed() *Problem {
	return &Problem{
		Status: http.StatusBadGateway, Code: "plugin_failed",
		Detail: "a plugin of this site failed, so the answer is withheld: the log of the server says more",
	}
}

// MethodNotAllowed answers a method other than the allowed ones, which are separated by commas.
func MethodNotAllowed(allow string) *Problem {
	return &Problem{
		Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
		Detail: "use " + allow, allow: allow,
	}
}

// TooEarly is about a request by 0-RTT: it can be one that was recorded, from an address that is
// not its sender's (RFC 8470).
func TooEarly() *Problem {
	return &Problem{
		Status: http.StatusTooEarly, Code: "too_early", Detail: "send the request again when the TLS handshake is complete",
	}
}

// EncodedBody answers a compressed body.
func EncodedBody() *Problem {
	return &Problem{
		Status: http.StatusUnsupportedMediaType, Code: "encoded_body",
		Detail: "the body has a Content-Encoding: send it as it is, not compressed",
	}
}

// BadHost answers a Host header that is no domain name.
func BadHost() *Problem {
	return &Problem{
		Status: http.StatusBadRequest, Code: "bad_host", Detail: "the Host header is not a domain name",
	}
}

// BadValue answers a value of the wrong kind.
func BadValue(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Code: "bad_value", Detail: fmt.Sprintf(format, args...)}
}

// SetTruth says in headers what an answer is worth.
func SetTruth(header http.Header, t cluster.Truth) {
	header.Set("Rollcall-Complete", strconv.FormatBool(t.Complete))
	if len(t.Missing) > 0 {
		header.Set("Rollcall-Missing", strings.Join(t.Missing, ", "))
	}
}
