package cluster

import (
	"errors"
	"sync/atomic"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// counts has the numbers of received payloads that were not used, see [Ignored].
type counts struct {
	malformed, oversized, forged, version, unknown, repeated atomic.Uint64
}

// Ignored counts received payloads that were not used, by reason.
type Ignored struct {
	Malformed uint64 `json:"malformed"`
	Oversized uint64 `json:"oversized"`
	Forged    uint64 `json:"forged"` // without authentication, with a wrong one, or with this pod as their sender
	Version   uint64 `json:"version"`
	Unknown   uint64 `json:"unknown"`  // from a pod that is not alive, or a reply that no query waits for
	Repeated  uint64 `json:"repeated"` // received before, or too old
}

func (l *link) reject(err error) {
	switch {
	case errors.Is(err, message.ErrOversized):
		l.counts.oversized.Add(1)
	case errors.Is(err, message.ErrForged):
		l.counts.forged.Add(1)
	case errors.Is(err, message.ErrVersion):
		l.counts.version.Add(1)
	default:
		l.counts.malformed.Add(1)
	}
}

// ignored returns the counts of payloads that were not used.
func (l *link) ignored() Ignored {
	return Ignored{
		Malformed: l.counts.malformed.Load(),
		Oversized: l.counts.oversized.Load(),
		Forged:    l.counts.forged.Load(),
		Version:   l.counts.version.Load(),
		Unknown:   l.counts.unknown.Load(),
		Repeated:  l.counts.repeated.Load(),
	}
}
