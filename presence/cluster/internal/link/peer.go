package link

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Peer is one incarnation of a pod. DC is its data center.
type Peer struct {
	DC, Pod     string
	Incarnation message.Incarnation
}

func peerOf(s message.Sender) Peer { return Peer{s.DataCenter, s.Pod, s.Incarnation} }

func (p Peer) sender() message.Sender {
	return message.Sender{DataCenter: p.DC, Pod: p.Pod, Incarnation: p.Incarnation}
}

// Name returns the pod's name in answers and logs.
func (p Peer) Name() string { return p.DC + "/" + p.Pod }

// Key returns the key of the incarnation in the registry. The name of a data center has no '/'.
func (p Peer) Key() string { return p.Name() + "/" + IncarnationText(p.Incarnation) }

// IncarnationText returns the text of an incarnation in keys, reports and logs.
func IncarnationText(i message.Incarnation) string {
	return fmt.Sprintf("%x-%016x", i.Started, i.Random)
}

// CompareIncarnations orders the incarnations of a pod by their start.
func CompareIncarnations(a, b message.Incarnation) int {
	return cmp.Or(cmp.Compare(a.Started, b.Started), cmp.Compare(a.Random, b.Random))
}

// ID returns the number of the incarnation in sums and lists of runs.
func (p Peer) ID() uint64 {
	b := make([]byte, 0, 160) // names have at most 64 bytes
	b = append(append(append(b, p.DC...), '/'), p.Pod...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Incarnation.Started))
	b = binary.BigEndian.AppendUint64(b, p.Incarnation.Random)
	return xxhash.Sum64(b)
}

// Random returns an unpredictable random number.
func Random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: since Go 1.24, crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:])
}
