package backend

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAFailureHasNoURL(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	long := strings.Repeat("x", 3*maxFailureText)
	for name, c := range map[string]struct {
		of   outcome
		want string
	}{
		"an answer": {outcome{why: ReasonServer, status: 503, err: errors.New("ignored")}, "server_error: status 503"},
		"no answer": {outcome{why: ReasonNetwork, err: &url.Error{
			Op: "Post", URL: "https://hooks.example.com/?token=secret", Err: errors.New("connection refused"),
		}}, "network: connection refused"},
		"a long error": {outcome{why: ReasonDisk, err: errors.New(long)}, "disk: " + long[:maxFailureText]},
		"no error":     {outcome{why: ReasonTimeout}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.of.failure(at); got != (Failure{at, c.want}) {
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
}
