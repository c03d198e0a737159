package pusher

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// masterKey is the key of encrypted channels, as server libraries have it.
const masterKey = "0123456789abcdef0123456789abcdef"

// newBackend starts a backend that signs for the user that the query names, and serves the scripts
// of pages. For the user eve, signatures are wrong.
func newBackend(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/broadcasting/auth", func(w http.ResponseWriter, r *http.Request) {
		socket, channel, user := r.FormValue("socket_id"), r.FormValue("channel_name"), r.URL.Query().Get("user")
		signed := socket
		if user == "eve" {
			signed = "1.1"
		}
		answer := make(map[string]string)
		if strings.HasPrefix(channel, "presence-") {
			// Laravel calls the ID of a member id, too: pages read it from user_info.
			answer["channel_data"] = channelData(user, fmt.Sprintf(`{"id":%q}`, user))
		}
		if strings.HasPrefix(channel, "private-encrypted-") {
			secret := sha256.Sum256([]byte(channel + masterKey))
			answer["shared_secret"] = base64.StdEncoding.EncodeToString(secret[:])
		}
		answer["auth"] = portal.auth(signed, channel, answer["channel_data"])
		reply(w, answer)
	})
	mux.HandleFunc("/broadcasting/user-auth", func(w http.ResponseWriter, r *http.Request) {
		user := fmt.Sprintf(`{"id":%q}`, r.URL.Query().Get("user"))
		reply(w, map[string]string{
			"auth": portal.Key + ":" + portal.sign(r.FormValue("socket_id")+"::user::"+user), "user_data": user,
		})
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><script src="/pusher.js"></script><script src="/echo.js"></script>` +
			`<script>globalThis.Echo = Echo.default</script><script src="/clients.js"></script>`))
	})
	modules := packages(t, "ROLLCALL_BROWSER_NPM")
	for path, file := range map[string]string{
		"/pusher.js":  filepath.Join(modules, "pusher-js/dist/web/pusher-with-encryption.js"),
		"/echo.js":    filepath.Join(modules, "laravel-echo/dist/echo.iife.js"),
		"/clients.js": "testdata/clients.js",
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func reply(w http.ResponseWriter, answer map[string]string) {
	body, _ := json.Marshal(answer) // strings always have a JSON form
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(body)
}
