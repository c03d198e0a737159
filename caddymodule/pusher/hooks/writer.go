package hooks

import (
	"net/http"
	"strconv"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/caddymodule/pusher/app"
)

const (
	// MaxBatch is the maximum number of events in a request.
	MaxBatch = 20

	// MinKeep is how long an event is retried at least, whatever the receiver answers.
	MinKeep = 5 * time.Minute
)

// Writer writes requests, which it signs with the secret of a key.
type Writer struct{ Key app.Key }

var _ backend.Writer = (*Writer)(nil)

// Batch implements [backend.Writer].
func (*Writer) Batch() int { return MaxBatch }

// Body implements [backend.Writer].
func (*Writer) Body(events [][]byte, queued time.Time) []byte {
	b := strconv.AppendInt([]byte(`{"time_ms":`), queued.UnixMilli(), 10)
	b = append(b, `,"events":[`...)
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, '{'), sent(e)...)
	}
	return append(b, "]}"...)
}

// Sign implements [backend.Writer].
func (w *Writer) Sign(header http.Header, body []byte) {
	header.Set("X-Pusher-Key", w.Key.Key)
	header.Set("X-Pusher-Signature", w.Key.Sign(body))
}
