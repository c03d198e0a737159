package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// problem is an answer that says what went wrong (RFC 9457).
type problem struct {
	status int
	code   string // stable, for programs
	detail string // for people; never any part of what was sent
	// channel is the name that bad_channel is about, "" with any other code.
	channel string
	retry   time.Duration
	allow   string         // methods, with 405
	truth   *cluster.Truth // what was found out, with incomplete
}

// write sends the problem.
func (p *problem) write(w http.ResponseWriter) {
	body, _ := json.Marshal(struct { // plain texts always have a JSON form
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
		// An extension member (RFC 9457 section 3.2).
		Channel string `json:"channel,omitempty"`
	}{"about:blank", http.StatusText(p.status), p.status, p.detail, p.code, p.channel})
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if p.retry > 0 {
		header.Set("Retry-After", strconv.Itoa(int((p.retry+time.Second-1)/time.Second)))
	}
	if p.allow != "" {
		header.Set("Allow", p.allow)
	}
	if p.truth != nil {
		setTruth(header, *p.truth)
	}
	switch {
	case p.code == "encoded_body":
		header.Set("Accept-Encoding", "identity") // RFC 9110 section 15.5.16
	case p.code == "bad_token":
		header.Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750 section 3
	case p.status == http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `ApiKey realm="rollcall"`)
	case p.status == http.StatusUpgradeRequired:
		header.Set("Upgrade", "websocket")
		header.Set("Connection", "Upgrade")
		header.Set("Sec-WebSocket-Version", "13")
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

// drainRetry is when clients of a process that stops should ask again.
const drainRetry = time.Second

func problemDraining() *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: "draining",
		detail: "this server is stopping: ask again", retry: drainRetry,
	}
}

func problemReloaded() *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: "reloaded",
		detail: "the configuration was replaced and has no such site: ask again by a new connection", retry: drainRetry,
	}
}

// problemMisdirected answers a request for a host that another site owns (RFC 9110 section 15.5.20).
func problemMisdirected() *problem {
	return &problem{
		status: http.StatusMisdirectedRequest, code: "misdirected",
		detail: "this host is not served here: use the address of its site",
	}
}

// incompleteRetry is when a backend that needs a complete answer should ask again.
const incompleteRetry = time.Second

func problemIncomplete(t cluster.Truth) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, code: "incomplete",
		detail: "not every pod has answered: ask again, or without requireComplete", retry: incompleteRetry, truth: &t,
	}
}

func problemPlugin() *problem {
	return &problem{
		status: http.StatusBadGateway, code: "plugin_failed",
		detail: "a plugin of this site failed, so the answer is withheld: the log of the server says more",
	}
}

func problemMethod(allow string) *problem {
	return &problem{
		status: http.StatusMethodNotAllowed, code: "method_not_allowed",
		detail: "use " + allow, allow: allow,
	}
}

// problemTooEarly is about a request by 0-RTT: it can be one that was recorded, from an address that is
// not its sender's (RFC 8470).
func problemTooEarly() *problem {
	return &problem{
		status: http.StatusTooEarly, code: "too_early", detail: "send the request again when the TLS handshake is complete",
	}
}

func problemEncoded() *problem {
	return &problem{
		status: http.StatusUnsupportedMediaType, code: "encoded_body",
		detail: "the body has a Content-Encoding: send it as it is, not compressed",
	}
}

func problemBadHost() *problem {
	return &problem{
		status: http.StatusBadRequest, code: "bad_host", detail: "the Host header is not a domain name",
	}
}

// problemValue answers a value of the wrong kind.
func problemValue(format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: "bad_value", detail: fmt.Sprintf(format, args...)}
}

// setTruth says in headers what an answer is worth.
func setTruth(header http.Header, t cluster.Truth) {
	header.Set("Rollcall-Complete", strconv.FormatBool(t.Complete))
	if len(t.Missing) > 0 {
		header.Set("Rollcall-Missing", strings.Join(t.Missing, ", "))
	}
}
