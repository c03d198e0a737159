package backend

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/tracing"
)

// maxAnswer is the maximum size of the header and of the body of an answer, in bytes. The body is
// read so that the connection can be reused.
const maxAnswer = 64 << 10

// outcome is the result of an attempt.
type outcome struct {
	why    Reason        // "" after a success
	status int           // HTTP status; 0 without an answer
	err    error         // set with why
	after  time.Duration // pause that the backend asks for; 0 if none
	final  bool          // repeating the same message is hardly useful
}

// NewClient returns a client for signed requests, with the transport or with a new one if that is
// nil.
func NewClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns = 1024
		t.MaxIdleConnsPerHost = 8 * maxParallel // sites may share a backend
		t.MaxResponseHeaderBytes = maxAnswer
		transport = t
	}
	return &http.Client{
		Transport: transport,
		// A request that is signed for one address must not be sent to another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// NewRequest returns a POST of a JSON body, signed with the secrets according to Standard Webhooks.
func NewRequest(ctx context.Context, url string, secrets []Secret, id string, body []byte) (*http.Request, error) {
	req, err := newRequest(ctx, url, id, body)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("Webhook-Signature", signature(secrets, id, now, body))
	return req, nil
}

// newRequest returns a POST of a JSON body that is not signed.
func newRequest(ctx context.Context, url, id string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Rollcall")
	req.Header.Set("Webhook-Id", id)
	tracing.Inject(ctx, req.Header)
	return req, nil
}

// request returns a request to an endpoint.
func (to *Endpoint) request(ctx context.Context, id string, body []byte) (*http.Request, error) {
	if to.Writer == nil {
		return NewRequest(ctx, to.URL, to.Secrets, id, body)
	}
	req, err := newRequest(ctx, to.URL, id, body)
	if err == nil {
		to.Writer.Sign(req.Header, body)
	}
	return req, err
}

// post sends a message once. Attempts at a message count from 1.
func post(ctx context.Context, client *http.Client, to *Endpoint, id string, body []byte, attempt int) outcome {
	ctx, cancel := context.WithTimeout(ctx, to.Timeout)
	defer cancel()
	req, err := to.request(ctx, id, body)
	if err != nil {
		return outcome{why: ReasonNetwork, err: err}
	}
	req.Header.Set("Rollcall-Attempt", strconv.Itoa(attempt))
	resp, err := client.Do(req)
	if err != nil {
		why, err := Unanswered(err)
		return outcome{why: why, err: err}
	}
	if resp.StatusCode != http.StatusSwitchingProtocols { // its body is the connection, which has no deadline
		_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // the content is ignored
	}
	_ = resp.Body.Close()
	return answered(resp.StatusCode, resp.Header.Get("Retry-After"), time.Now())
}

// Unanswered returns why a request has no answer. The error does not repeat the URL, which may
// contain a secret.
func Unanswered(err error) (Reason, error) {
	why := ReasonNetwork
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		why = ReasonTimeout
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return why, err
}

// answered returns the outcome of an attempt with an answer.
func answered(status int, retryAfter string, now time.Time) outcome {
	o := outcome{status: status, err: errors.New("the backend answered " + strconv.Itoa(status))}
	switch {
	case status >= 200 && status < 300:
		return outcome{status: status}
	case status == http.StatusTooManyRequests:
		o.why = ReasonBusy
	case status >= 500:
		o.why = ReasonServer
	case status >= 400:
		o.why, o.final = ReasonRefused, !isSetupError(status)
	default:
		o.why = ReasonRedirect
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		o.after = parseRetryAfter(retryAfter, now)
	}
	return o
}

// isSetupError reports whether a status means that the address, the secret or the clock is wrong,
// rather than the message. Such an error ends when the setup is fixed.
func isSetupError(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly:
		return true
	}
	return false
}

// maxRetryAfter is the longest pause that a backend may ask for.
const maxRetryAfter = 5 * time.Minute

// parseRetryAfter parses a Retry-After header: seconds or a date (RFC 9110 section 10.2.3); 0 if it
// is neither.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
