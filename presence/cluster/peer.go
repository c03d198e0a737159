package cluster

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// peer is one incarnation of a pod.
type peer struct {
	dc, pod string
	inc     message.Incarnation
}

func peerOf(s message.Sender) peer { return peer{s.DataCenter, s.Pod, s.Incarnation} }

func (p peer) sender() message.Sender {
	return message.Sender{DataCenter: p.dc, Pod: p.pod, Incarnation: p.inc}
}

// name returns the pod's name in answers and logs.
func (p peer) name() string { return p.dc + "/" + p.pod }

// key returns the key of the incarnation in the registry. The name of a data center has no '/', see
// [Config].
func (p peer) key() string { return p.name() + "/" + incarnationText(p.inc) }

func incarnationText(i message.Incarnation) string {
	return fmt.Sprintf("%x-%016x", i.Started, i.Random)
}

// compareIncarnations orders the incarnations of a pod by their start.
func compareIncarnations(a, b message.Incarnation) int {
	return cmp.Or(cmp.Compare(a.Started, b.Started), cmp.Compare(a.Random, b.Random))
}

// random returns an unpredictable random number.
func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: since Go 1.24, crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:])
}
