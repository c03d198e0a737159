package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
)

// Limits of request bodies. A body arrives before its key is checked, so any client can send one.
const (
	maxBody      = 64 << 10 // bytes
	maxUsersBody = 1 << 20  // bytes, with a list of users

	// maxLargeBodies is how many bodies over maxBody a site reads at once.
	maxLargeBodies = 64
	// bodyTimeout is how long a body may take to arrive, the same as a websocket message.
	bodyTimeout = 30 * time.Second
)

// bodyLimit returns the maximum size of a body for an endpoint, in bytes.
func bodyLimit(name string) int64 {
	switch name {
	case "adduser", "removeuser", "sendmessage", "online", "disconnect", "leave":
		return maxUsersBody
	}
	return maxBody
}

// checkSize refuses a body over maxBody without users. Without users, the endpoints for assignments
// refuse any body.
func checkSize(name string, raw []byte, body values) *problem.Problem {
	if _, users := body["users"]; users || len(raw) <= maxBody || name == "adduser" || name == "removeuser" {
		return nil
	}
	return tooLarge(maxBody)
}

func tooLarge(limit int64) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusRequestEntityTooLarge, Code: "too_large",
		Detail: fmt.Sprintf("the body is over %d KiB", limit>>10),
	}
}

// readBody reads a JSON body of at most limit bytes for a site.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, of *site.Site) ([]byte, *problem.Problem) {
	if !isEncoded(r.Header) && !isJSON(r.Header) {
		return nil, &problem.Problem{
			Status: http.StatusUnsupportedMediaType, Code: "not_json",
			Detail: "send the body as Content-Type: application/json",
		}
	}
	return ReadBody(w, r, limit, of)
}

// ReadBody reads a body of at most limit bytes for a site. A site reads few large bodies at once.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64, of *site.Site) ([]byte, *problem.Problem) {
	if isEncoded(r.Header) {
		return nil, problem.EncodedBody()
	}
	arrived := LimitTime(w, r)
	body := http.MaxBytesReader(w, r.Body, limit)
	raw, err := io.ReadAll(io.LimitReader(body, maxBody))
	if err == nil && len(raw) == maxBody {
		defer of.LargeBodies.Add(-1)
		if of.LargeBodies.Add(1) > maxLargeBodies {
			return nil, &problem.Problem{
				Status: http.StatusServiceUnavailable, Code: "busy",
				Detail: fmt.Sprintf("too many bodies over %d KiB are arriving: send this one again", maxBody>>10), Retry: busyRetry,
			}
		}
		var rest []byte
		rest, err = io.ReadAll(body)
		raw = append(raw, rest...)
	}
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge(limit)
	case err != nil:
		return nil, &problem.Problem{
			Status: http.StatusBadRequest, Code: "bad_body",
			Detail: fmt.Sprintf("the body did not arrive completely within %s", bodyTimeout),
		}
	}
	arrived()
	return raw, nil
}

// LimitTime ends the reading of a body after bodyTimeout, unless the server has a limit of its own:
// the option read_body. The caller calls the returned function when the body has arrived. Otherwise
// the deadline stays, so that net/http does not wait for the rest of the body and closes the
// connection.
func LimitTime(w http.ResponseWriter, r *http.Request) (arrived func()) {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if r.ContentLength == 0 || server != nil && server.ReadTimeout > 0 {
		return func() {}
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout)) // the writers of Caddy's servers have deadlines
	return func() { _ = c.SetReadDeadline(time.Time{}) }
}

// isEncoded reports whether the body is compressed or otherwise encoded.
func isEncoded(header http.Header) bool {
	return slices.ContainsFunc(header["Content-Encoding"], func(coding string) bool {
		return coding != "" && !strings.EqualFold(coding, "identity")
	})
}

// isJSON reports whether the header declares JSON. A program may omit Content-Type. A browser may
// not: any page can make it send such a request, and only for application/json does it first ask
// the server whether the page may (CORS). Browsers send Origin or Sec-Fetch-Site.
func isJSON(header http.Header) bool {
	kind := header.Get("Content-Type")
	browser := len(header["Origin"]) > 0 || len(header["Sec-Fetch-Site"]) > 0
	if kind == "" {
		return !browser
	}
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json") && !browser)
}
