package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// failure is an answer that is no success.
type failure struct {
	status int
	text   string
	retry  time.Duration
	allow  string         // allowed method, for 405
	truth  *cluster.Truth // completeness, for an incomplete answer
}

func fail(status int, format string, args ...any) *failure {
	return &failure{status: status, text: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *failure {
	return fail(http.StatusBadRequest, format, args...)
}

// failed returns a problem in the form of this API.
func failed(p *problem.Problem) *failure {
	return &failure{status: p.Status, text: p.Detail, retry: p.Retry}
}

// retryDelay is when a backend should retry that sends too fast, or to a pod that cannot answer
// now.
const retryDelay = time.Second

func incomplete(truth cluster.Truth) *failure {
	return &failure{
		status: http.StatusServiceUnavailable, retry: retryDelay, truth: &truth,
		text: "not every pod has replied: retry, or leave out require_complete",
	}
}

// notSent returns why an event was not sent.
func notSent(err error) *failure {
	if refused, ok := errors.AsType[*site.RefusedError](err); ok {
		return fail(http.StatusForbidden, "a plugin of this site refuses the event in channel %s: nobody receives it", refused.Channel)
	}
	if _, ok := errors.AsType[*plugins.Error](err); ok {
		return &failure{
			status: http.StatusServiceUnavailable, retry: retryDelay,
			text: "a plugin of this site failed, so the event was not sent: see the server's log",
		}
	}
	if errors.Is(err, presence.ErrTooLarge) {
		return fail(http.StatusRequestEntityTooLarge, "%s: send less data", err)
	}
	return &failure{status: http.StatusServiceUnavailable, retry: retryDelay, text: "the event was not sent: " + err.Error()}
}

// in returns the failure of one event of a batch.
func (f *failure) in(i int) *failure {
	f.text = "batch[" + strconv.Itoa(i) + "]: " + f.text
	return f
}

func (f *failure) write(w http.ResponseWriter) {
	body := append(wire.AppendString([]byte(`{"error":`), f.text), `,"code":`...)
	body = append(strconv.AppendInt(body, int64(f.status), 10), '}')
	header := w.Header()
	header.Set("Content-Type", "application/json")
	problem.SetHeaders(header, len(body), f.retry, f.allow, f.truth)
	if f.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Pusher realm="rollcall"`)
	}
	w.WriteHeader(f.status)
	_ = answer.Write(w, [][]byte{body}) // if it fails, the client is gone
}
