package link

import (
	"errors"
	"sync/atomic"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Counters count received payloads that are not used, see [Ignored].
type Counters struct {
	Malformed, Oversized, Forged, Version, Unknown, Repeated atomic.Uint64
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

func (l *Link) reject(err error) {
	switch {
	case errors.Is(err, message.ErrOversized):
		l.Counts.Oversized.Add(1)
	case errors.Is(err, message.ErrForged):
		l.Counts.Forged.Add(1)
	case errors.Is(err, message.ErrVersion):
		l.Counts.Version.Add(1)
	default:
		l.Counts.Malformed.Add(1)
	}
}

// Ignored returns the counts of payloads that were not used.
func (l *Link) Ignored() Ignored {
	return Ignored{
		Malformed: l.Counts.Malformed.Load(),
		Oversized: l.Counts.Oversized.Load(),
		Forged:    l.Counts.Forged.Load(),
		Version:   l.Counts.Version.Load(),
		Unknown:   l.Counts.Unknown.Load(),
		Repeated:  l.Counts.Repeated.Load(),
	}
}
