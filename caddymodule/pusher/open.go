package pusher

import (
	"net/http"
	"strconv"
	"unique"

	"github.com/rollcall-gateway/rollcall/caddymodule/gateway"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Open returns how the websocket of a handshake is opened for the key. secure is true if the client
// uses TLS. A handshake with an unknown key, or of a client that is not served, is opened to be
// refused: a page sees no HTTP status.
func (p *Clients) Open(r *http.Request, of *app.Config, key string, secure bool) gateway.Opening {
	query := r.URL.Query()
	version, versionErr := parseVersion(query.Get("protocol"))
	c := &conn{socket: app.NewSocketID(), client: newClient(query.Get("client"), version)}
	p.count(c.client)
	open := gateway.Opening{Protocol: c}
	a := of.ByKey(key)
	switch {
	case a == nil:
		open.Refusal = c.refusal(closeUnknownApp, "no app of this site has this key", "pusher_key")
		return open
	case of.TLSOnly && !secure:
		open.Refusal = c.refusal(closeTLSOnly, "this site is served over TLS only", "pusher_tls")
	case versionErr != nil:
		open.Refusal = c.refusal(versionErr.code, versionErr.text, "pusher_version")
	}
	asked, _ := presence.ParseHostName(r.Host)
	c.owner, open.Host = unique.Make(owner{a.ID, a.HostOf(asked), asked}), a.Host
	return open
}

// refusal returns how the connection is refused after the handshake.
func (c *conn) refusal(code int, reason, metric string) *gateway.Refusal {
	r := &gateway.Refusal{Code: code, Reason: reason, Metric: metric}
	if c.client.protocol < oldVersion {
		r.Before = errorFrame(code, reason)
	}
	return r
}

// versionError is why a version is not served.
type versionError struct {
	code int
	text string
}

// parseVersion returns the version of the protocol that a client speaks. With an error, it is 0, or
// a number that is not served.
func parseVersion(text string) (int, *versionError) {
	if text == "" {
		return maxVersion, &versionError{closeNoVersion, "the query has no protocol: add protocol=7"}
	}
	version, err := strconv.ParseUint(text, 10, 8)
	switch {
	case err != nil:
		return maxVersion, &versionError{closeBadVersion, "protocol must be a number from 4 to 7"}
	case !isServed(int(version)):
		return int(version), &versionError{closeBadVersion, "protocol must be from 4 to 7"}
	}
	return int(version), nil
}

func isServed(version int) bool { return version >= minVersion && version <= maxVersion }
