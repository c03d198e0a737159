package link

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/presence"
)

// All returns the subject that all pods subscribe to.
func (l *Link) All() string { return l.prefix + ".all" }

// Queries returns the subject of queries to all pods.
func (l *Link) Queries() string { return l.prefix + ".query" }

// QueriesOf returns the subject of queries to the pods of one data center.
func (l *Link) QueriesOf(dc string) string { return l.prefix + ".query." + subjectHash(dc) }

// Inbox returns the subject that only one pod subscribes to.
func (l *Link) Inbox(p Peer) string {
	return l.prefix + ".pod." + subjectHash(p.DC, p.Pod, IncarnationText(p.Incarnation))
}

// ChannelSubjects is the number of subjects for changes in channels. A pod subscribes to those of
// the shards in which it watches a channel.
const ChannelSubjects = 1024

// Channels returns the subject of the changes in the channels of a shard of a host, which has the
// hash.
func (l *Link) Channels(hash uint64) string {
	return l.prefix + ".channel." + strconv.FormatUint(hash%ChannelSubjects, 16)
}

// Assignments returns the subject of changes of assignments, which all pods subscribe to.
func (l *Link) Assignments() string { return l.prefix + ".assign" }

// AssignmentsOf returns the subject of messages about assignments to one pod. It is not the pod's
// inbox, because handling them writes a file, which can be slow, and the inbox must not wait.
func (l *Link) AssignmentsOf(p Peer) string {
	return l.prefix + ".assign." + subjectHash(p.DC, p.Pod, IncarnationText(p.Incarnation))
}

// Shards is the number of subjects for messages. A pod subscribes to the subjects of the hosts that
// have connections on it.
const Shards = 256

// ShardOf returns the shard of a host.
func ShardOf(host presence.HostName) byte {
	return sha256.Sum256([]byte(host.String()))[0]
}

// Shard returns the subject of the messages to the hosts of a shard.
func (l *Link) Shard(shard byte) string {
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
