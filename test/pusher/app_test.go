package pusher

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// app is an application of the protocol.
type app struct{ ID, Key, Secret string }

// line is the app in a pusher block.
func (a app) line() string { return fmt.Sprintf("app %s %s %s", a.ID, a.Key, a.Secret) }

// sign returns the signature of a text, without the key.
func (a app) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// auth returns what a subscription needs.
func (a app) auth(socket, channel, channelData string) string {
	text := socket + ":" + channel
	if channelData != "" {
		text += ":" + channelData
	}
	return a.Key + ":" + a.sign(text)
}

// request is a request to the HTTP API.
type request struct {
	app    app
	method string
	path   string // below /apps/ID
	query  map[string]string
	body   string
	// change changes the parameters before they are signed; nil for none.
	change func(map[string]string)
	host   string // "" for the host
}

// call sends a request to the HTTP API.
func (p *pod) call(t testing.TB, r request) ws.Answer {
	t.Helper()
	if r.app == (app{}) {
		r.app = portal
	}
	params := map[string]string{
		"auth_key": r.app.Key, "auth_timestamp": strconv.FormatInt(time.Now().Unix(), 10), "auth_version": "1.0",
	}
	maps.Copy(params, r.query)
	if r.body != "" {
		sum := md5.Sum([]byte(r.body))
		params["body_md5"] = hex.EncodeToString(sum[:])
	}
	if r.change != nil {
		r.change(params)
	}
	path := "/apps/" + r.app.ID + r.path
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		pairs = append(pairs, strings.ToLower(name)+"="+params[name])
	}
	signature := r.app.sign(r.method + "\n" + path + "\n" + strings.Join(pairs, "&"))
	query := url.Values{"auth_signature": {signature}}
	for name, value := range params {
		query.Set(name, value)
	}
	site := p.site
	if r.host != "" {
		site.Host = r.host
	}
	var header []string
	if r.body != "" {
		header = []string{"Content-Type", "application/json"}
	}
	return site.Request(t, r.method, (&url.URL{Path: path}).EscapedPath()+"?"+query.Encode(), r.body, header...)
}

// ask sends a GET request, which must be answered with 200, and returns the body.
func (p *pod) ask(t testing.TB, path string, query map[string]string) string {
	t.Helper()
	a := p.call(t, request{method: http.MethodGet, path: path, query: query})
	if a.Status != http.StatusOK {
		t.Fatalf("GET %s: status %d: %s", path, a.Status, a.Body)
	}
	return a.Body
}

// trigger publishes an event with the HTTP API.
func (p *pod) trigger(t testing.TB, channel, event, data string) {
	t.Helper()
	body := fmt.Sprintf(`{"name":%q,"channels":[%q],"data":%s}`, event, channel, quote(data))
	a := p.call(t, request{method: http.MethodPost, path: "/events", body: body})
	if a.Status != http.StatusOK || a.Body != "{}" {
		t.Fatalf("the event %s for %s: status %d: %s", event, channel, a.Status, a.Body)
	}
}
