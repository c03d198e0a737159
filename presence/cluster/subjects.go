package cluster

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence"
)

// all returns the subject that all pods subscribe to.
func (l *link) all() string { return l.prefix + ".all" }

// queries returns the subject of queries to all pods.
func (l *link) queries() string { return l.prefix + ".query" }

// queriesOf returns the subject of queries to the pods of one data center.
func (l *link) queriesOf(dc string) string { return l.prefix + ".query." + subjectHash(dc) }

// inbox returns the subject that only one pod subscribes to.
func (l *link) inbox(p peer) string {
	return l.prefix + ".pod." + subjectHash(p.dc, p.pod, incarnationText(p.inc))
}

// channelSubject returns the subject of the changes in a channel.
func (l *link) channelSubject(host presence.HostName, channel string) string {
	return l.prefix + ".channel." + subjectHash(host.String(), channel)
}

// assigned returns the subject of changes of assignments, which all pods subscribe to.
func (l *link) assigned() string { return l.prefix + ".assign" }

// assignedOf returns the subject of messages about assignments to one pod. It is not the pod's
// inbox, because handling them writes a file, which can be slow, and the inbox must not wait.
func (l *link) assignedOf(p peer) string {
	return l.prefix + ".assign." + subjectHash(p.dc, p.pod, incarnationText(p.inc))
}

// shards is the number of subjects for messages. A pod subscribes to the subjects of the hosts that
// have connections on it.
const shards = 256

// shardOf returns the shard of a host.
func shardOf(host presence.HostName) byte {
	return sha256.Sum256([]byte(host.String()))[0]
}

// shardSubject returns the subject of the messages to the hosts of a shard.
func (l *link) shardSubject(shard byte) string {
	return l.prefix + ".message." + hex.EncodeToString([]byte{shard})
}

// subjectHash replaces names in subjects, which cannot contain dots, spaces and wildcards.
// Receivers compare the names in the message.
func subjectHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p)))) // never fails
		_, _ = h.Write([]byte(p))
	}
	sum := h.Sum(nil)[:16]
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum))
}
