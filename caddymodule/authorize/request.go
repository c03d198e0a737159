package authorize

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
)

// result is what became of a question. It is a label of metrics.
type result string

// Results of questions besides those of [backend.Reason].
const (
	resultAllowed   result = "allowed"
	resultDenied    result = "denied"
	resultInvalid   result = "invalid"   // 200 without an answer
	resultFull      result = "full"      // not asked: too many wait
	resultSuspended result = "suspended" // not asked: the backend is down
)

// failure is why a question has no answer.
type failure struct {
	why    result
	status int // HTTP status; 0 without a response
	err    error
}

// down reports whether the failure is of the backend as a whole, rather than of one question.
// Otherwise a name that a program cannot handle would close its site to everybody.
func (f *failure) down() bool {
	switch f.status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// post asks the backend once. The status is that of the response, 0 without one.
func post(ctx context.Context, client *http.Client, to *Endpoint, body []byte) (a Answer, status int, f *failure) {
	req, err := backend.NewRequest(ctx, to.URL, to.Secrets, backend.NewID(), body)
	if err != nil {
		return Answer{}, 0, &failure{why: result(backend.ReasonNetwork), err: err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, 0, noResponse(err)
	}
	defer func() { _ = resp.Body.Close() }() // a longer body is not read; its connection is closed
	status = resp.StatusCode
	switch {
	case status == http.StatusForbidden:
		return Answer{}, status, nil
	case status != http.StatusOK:
		return Answer{}, status, &failure{reasonOf(status), status, fmt.Errorf("the backend answered %d", status)}
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return Answer{}, status, noResponse(err)
	}
	if a, err = parseAnswer(text, time.Now()); err != nil {
		return Answer{}, status, &failure{resultInvalid, status, err}
	}
	return a, status, nil
}

func noResponse(err error) *failure {
	why, err := backend.Unanswered(err)
	return &failure{why: result(why), err: err}
}

// reasonOf returns the reason of a status that is not an answer.
func reasonOf(status int) result {
	switch {
	case status == http.StatusTooManyRequests:
		return result(backend.ReasonBusy)
	case status >= 500:
		return result(backend.ReasonServer)
	case status >= 400:
		return result(backend.ReasonRefused)
	case status >= 300:
		return result(backend.ReasonRedirect)
	}
	return resultInvalid // such as 204
}

func (f *failure) Error() string { return strconv.Quote(string(f.why)) + ": " + f.err.Error() }
