// Package message is what pods say to each other, as bytes.
//
// A payload is a version in one byte, the sender with the number of the payload, the type of the
// message in one byte, and the message. In a deployment with a secret 16 bytes follow, which bind
// it to the secret and to the subject that it came by. Payloads come from a network, so decoding
// trusts nothing: sizes and counts are checked before memory is taken for them.
package message

import (
	"slices"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// Version is the version of the payloads that this package writes, and the only one that it reads.
const Version = 9

// MaxPayload is the largest payload in bytes. NATS takes 1 MiB by default.
const MaxPayload = 512 << 10

// MaxParts is the most payloads that a Delta or Sites is divided into.
const MaxParts = 256

// Incarnation tells one run of a pod from the next.
type Incarnation struct {
	Started int64  // Unix time in milliseconds
	Random  uint64 // tells two apart that were started together
}

// Sender is the pod that a payload is from.
type Sender struct {
	DataCenter  string
	Pod         string
	Incarnation Incarnation
	Seq         uint64 // number of the payload, from 1; grows with each of the incarnation
}

// Message is a pointer to one of the types below. Texts of a decoded one share small copies of the
// payload.
type Message interface{ kind() byte }

// Heartbeat says that a pod is alive, once a second.
type Heartbeat struct {
	Seq         uint64 // that of the Sender, which Decode copies; Append ignores it
	Connections uint64
	Hosts       uint64 // hosts that have connections
	Sites       uint64 // changes with what Sites says; another pod that does not know it asks with SitesWanted
	Heard       uint64 // sum of the IDs of the runs that the pod has heard in the last 3 s, itself included
	Missed      uint64 // sum of the IDs of the runs that the pod misses
	Clock       uint64 // reading of the cluster's clock, in milliseconds
	Draining    bool
	Hello       bool // the pod is new: answer with a heartbeat at once
	// Nonce is that of the Probe that this heartbeat answers, in the inbox of its sender; 0 in a
	// heartbeat to all.
	Nonce uint64
}

// Probe asks a pod, which is the subject's, whether it is alive: a recorded heartbeat looks like a
// new one. The pod answers with a Heartbeat that has the nonce.
type Probe struct {
	Nonce uint64 // not 0
}

// Goodbye says that a pod has ended.
type Goodbye struct {
	Clock uint64 // reading of the cluster's clock, in milliseconds
	Back  bool   // the pod starts again at once: until then it counts as missing
}

// RunsWanted asks a pod, which is the subject's, for Runs.
type RunsWanted struct {
	// IDs are the runs that the answer describes, at most MaxRunIDs. If empty, the answer has the
	// lists of the pod.
	IDs []uint64
}

// MaxRunIDs is the maximum number of IDs in one RunsWanted or Runs.
const MaxRunIDs = 16 << 10

// Runs has what a pod knows about the runs of pods: its lists, the descriptions that RunsWanted
// asks for, or news to all. Descriptions of one list come in several messages if there are many.
type Runs struct {
	List   bool     // Heard and Missed are the sums, and IDs the runs that are heard
	Heard  uint64   // as in the Heartbeat at this time
	Missed uint64   // as in the Heartbeat at this time
	IDs    []uint64 // runs that the pod has heard in the last 3 s, itself included; at most MaxRunIDs
	Runs   []Run    // at most MaxRuns; in a list, the runs that the pod misses
}

// MaxRuns is the maximum number of descriptions in one Runs.
const MaxRuns = 1024

// Run describes a run of a pod, as another pod knows it.
type Run struct {
	DataCenter  string
	Pod         string
	Incarnation Incarnation
	Seq         uint64 // of its last heartbeat that was heard
	Sites       uint64 // sum of the sites that it serves
	Age         uint64 // milliseconds since it was heard or has ended; at most MaxAge
	Standing    Standing
	Tenure      Tenure
}

// MaxAge is the maximum age of a run, in milliseconds.
const MaxAge = 1 << 40

// Tenure is since when a pod is known by its name, and when it was last away, in milliseconds
// before the present; each at most MaxAge, and 0 if it is not known. A pod keeps it for its own
// next run.
type Tenure struct{ Since, Left, Back uint64 }

// Standing is what a pod knows about a run.
type Standing uint8

// The standings of a run.
const (
	Heard  Standing = iota + 1
	Missed          // silent, but it can be alive
	Ended           // it said goodbye, was replaced or forgotten, or counts as crashed
	// Forgotten is Ended by an operator, whatever the receiver has heard later.
	Forgotten
)

// SitesWanted asks the pod, which is the subject's, for its Sites.
type SitesWanted struct{}

// Sites says which hosts a pod serves.
type Sites struct {
	Sum   uint64 // the one in Heartbeat
	Part  uint32 // from 0
	Parts uint32
	Sites []Site
}

// Site is what one site of the configuration serves: the hosts that match one pattern of each set.
// No set at all is every host. A pattern is a host name in which a label can be "*".
type Site struct {
	Sets   [][]string
	Events bool // the pod has events for these hosts
}

// Query asks the pods that serve a host about it.
type Query struct {
	ID      uint64
	Try     uint32 // 0 at first, and 1 more each time that it is repeated for a pod that has not answered
	Kind    QueryKind
	Host    presence.HostName
	Channel string // KindUsers: this channel alone, unless ""
	User    string // KindExplain; KindListeners: the users that follow this one
	Raw     bool   // one entry a connection instead of one a user
	Info    bool   // users with their info and status
	Seed    uint64 // KindCount: of the hashes
	// Whole asks for the lists of KindCount, KindMembers and KindUsers however long they are.
	// Without it, a pod leaves out long ones and says so with Unlisted, but of KindUsers only those
	// without a channel and a limit.
	Whole bool
	From  uint64 // KindCount and Whole: only the hashes from this one on
	// Page is the part of the channels that is wanted, for KindUsers without a channel.
	// KindListeners uses its Limit.
	Page presence.Page
	// Call is set for the kinds from KindOnline to KindLeave, and nil for others.
	Call *Call
}

// Call is whom and what a Query of its kinds is about.
type Call struct {
	Users     []string      // at most presence.MaxUsers
	Conns     []presence.ID // at most presence.MaxUsers
	Channels  []string      // KindLeave: at most presence.MaxTargets, together at most presence.MaxMessage bytes
	Reconnect bool          // KindDisconnect: clients reconnect at once
	SignedIn  bool          // KindDisconnect: of the connections of Users, only those that are signed in
	Members   bool          // KindDisconnect: also connections that are in a channel as one of Users
	Reason    string        // KindDisconnect: text for the clients, at most MaxReason bytes
}

// MaxReason is the longest reason of a disconnect, in bytes. A close frame has room for 123.
const MaxReason = 100

// QueryKind is what a query is about.
type QueryKind uint8

// The kinds of queries.
const (
	KindCount   QueryKind = iota + 1 // how many there are: Count with hashes
	KindMembers                      // who is there: Count and Members
	KindUsers                        // who listens to what: Channels
	KindExplain                      // why a user is listed: Connections
	KindPing                         // nothing; every pod answers
	KindNames                        // which channels there are: Channels without users

	// Kinds with a Call. The last two change something: a pod carries out a query once, however
	// often it is repeated.

	KindOnline     // which users are there: Members, one for each connection
	KindDisconnect // close connections: of Call.Users, Call.Conns, or the listeners of Channel; Count.LoggedIn of them
	KindLeave      // end memberships in Call.Channels: Count.LoggedIn of them

	KindLast // the last event of Channel, a cache channel: Event. It has no Call

	// Kinds for operators, without a Call.

	KindHosts     // which hosts have connections: Hosts. Without a Host, all hosts, and every pod answers
	KindListeners // who listens to Channel: Channels with the Channel and its number alone, and Listeners
)

// Reply is a part of the answer to a Query. The parts of a pod come in order, and the last one says
// so. Each has all the numbers, and its share of the lists.
type Reply struct {
	ID        uint64
	Try       uint32 // that of the Query: the parts of several tries do not fit together
	Part      uint32 // from 0
	Last      bool
	NotServed bool // this pod does not serve the host, or no longer does
	Unlisted  bool // the lists are left out, because they are long and the Query was not for the Whole
	More      bool // there are more hashes than MaxHashes: the asker asks for those after the last one
	Count     Count
	Members   []presence.Member
	Channels  []presence.Listing // a channel of many users comes in several listings, one after the other
	Conns     []Connection       // one of many channels comes as several, one after the other
	// Event is the answer to KindLast; nil if the pod keeps no event. With it, the reply has a type
	// of its own.
	Event *presence.LastEvent

	// A reply with one of the lists below has a type of its own.

	Hosts     []HostCount // KindHosts
	Listeners []Listener  // KindListeners; sorted by User
}

// HostCount is what a pod has of a host, for KindHosts.
type HostCount struct {
	Host      presence.HostName
	Anonymous uint64 // connections without a user
	LoggedIn  uint64 // connections with a user
	Users     uint64 // distinct users
	Channels  uint64 // active channels, without private ones
	Hidden    uint64 // the part of Channels that no listing has
}

// Listener is one connection that has a user, for KindListeners. Times are Unix times in
// milliseconds.
type Listener struct {
	Conn     presence.ID
	User     string
	Email    string // "" for none
	Since    int64
	LastSign int64 // when anything was last heard of the client
}

// Count is how many a pod has on a host.
type Count struct {
	Anonymous uint64 // connections without a user
	LoggedIn  uint64 // connections with a user
	Users     uint64 // distinct users; for KindUsers without a channel and a limit, the entries of Channels
	// Hashes are those of the users' IDs (xxhash of Seed and ID), for counting the users of several
	// pods: at most MaxHashes, in ascending order, each once.
	Hashes []uint64
}

// MaxHashes is the maximum number of hashes in one Reply: 256 KiB.
const MaxHashes = 32 << 10

// Connection is one connection of a user, for KindExplain. Times are Unix times in milliseconds.
type Connection struct {
	ID       string
	Email    string
	Since    int64
	LastSign int64 // when anything was last heard of the client
	Channels []string
}

// Delta says what changed in the part that a pod has of a channel. It goes to the pods that follow
// the shard of the channel, or with everything in it to one that asked with a Check, and then may
// come in parts. Each part has all the numbers, and its share of the lists.
type Delta struct {
	Host    presence.HostName
	Channel string
	Part    uint32 // from 0
	Parts   uint32
	// Step is the difference between the clock and that of the delta before it that the pod
	// published in the shard of the channel. It is 0 in an answer, and if the pod does not know of
	// another pod that follows the shard.
	Step uint64
	presence.Delta
}

// Check asks a pod for what the sender does not know of its channels. It answers with Deltas for
// those that differ, then with CheckDone. From then on, the sender follows the shards of the
// channels.
type Check struct {
	ID       uint64
	Host     presence.HostName
	Channels []CheckChannel
}

// CheckChannel is what the sender of a Check knows of a channel.
type CheckChannel struct {
	Channel string
	Clock   uint64 // of the last delta that was merged; 0: nothing is known, or the pod has nobody there
}

// CheckDone says that all answers to a Check are sent.
type CheckDone struct {
	ID    uint64
	Clock uint64 // of the last delta of the pod before the answers: they have all that deltas up to it say
	// Follows counts the shards that the receiver has begun to follow, including those of the
	// Check.
	Follows uint64
	// Shards has the clocks of the shards of the channels before the answers.
	Shards []ShardClock
	// Answers lists the channels of the Check for which a Delta was sent, since one can be lost.
	Answers []Answer
}

// Answer is the clock of the Delta that answers a channel of a Check.
type Answer struct {
	Index int // of the channel in the Check
	Clock uint64
}

// Send is a message to those who listen to one of the channels. It goes to all pods that have a
// connection of the host, except for those of builds before it, which do not subscribe to its
// subjects.
type Send struct {
	Host     presence.HostName
	Channels []string // 1 to presence.MaxTargets; private ones too. With users, it can be empty
	From     presence.Source
	Message  []byte // an object of JSON

	// Only the backend sets the fields below. With one of them, the message has a type of its own.

	Users  []string    // at most presence.MaxUsers
	Except presence.ID // zero: nobody
	Key    presence.MessageKey
}

// Details is what a pod knows of users besides their e-mail addresses. It goes to all pods that
// have a connection of the host.
type Details struct {
	Host  presence.HostName
	Users []presence.Detail
	// Hello asks pods that know an info or a status of anybody on the host for an answer: Details
	// without users and hello, in the inbox of the sender.
	Hello bool
}

// Assignments are records of one host, to be merged. The records of one change come in one or
// several.
type Assignments struct {
	ID      uint64 // AssignmentsTaken answers it; 0: no answer is wanted
	Answer  bool   // they are a part of the answer to the AssignmentCheck of the ID
	Host    presence.HostName
	Records []assignment.Record // of Host
}

// AssignmentsTaken confirms that the Assignments of the ID are kept, or ends the answer to the
// AssignmentCheck of the ID.
type AssignmentsTaken struct {
	ID   uint64
	Held assignment.Held // what the pod has now, compared with the Assignments; zero for a check

	// More tells that the pod has more than fits into the answer to a check; otherwise, that it had
	// no room for some of the Assignments, so it does not confirm them.
	More bool

	// For a check, and zero otherwise:

	Parts   uint64 // how many Assignments the answer has
	Whole   bool   // see AssignmentTotal
	Outside uint64 // see AssignmentCheck, with this answer
}

// AssignmentTotal is one number for the assignments of all hosts that the sender and the receiver
// serve: one that has another asks with AssignmentCheck.
type AssignmentTotal struct {
	Total  uint64
	Scope  uint64 // says which hosts: a hash of the sites of both pods. A receiver that has another one takes no notice
	ID     uint64 // 0 in a total for all pods; that of one that was wanted otherwise
	Whole  bool   // the pod has all changes that are complete, and hears all pods
	Wanted bool   // the receiver sends its total back, with the ID
	// Outside is set if the sender has assignments of hosts that the receiver serves and the sender
	// does not. They are in no sum.
	Outside bool
}

// AssignmentCheck asks a pod for those of its assignments that the sender may not have. It answers
// with Assignments, then with AssignmentsTaken.
type AssignmentCheck struct {
	ID    uint64
	Scope uint64          // see AssignmentTotal
	Sums  assignment.Sums // of the sender
	// Outside is the number of parts, from the first one on, of which the sender has what the
	// receiver has of hosts that only the sender serves.
	Outside uint64
}

func (*Heartbeat) kind() byte   { return 1 }
func (*Goodbye) kind() byte     { return 2 }
func (*SitesWanted) kind() byte { return 3 }
func (*Sites) kind() byte       { return 4 }
func (*Check) kind() byte       { return 8 }
func (*CheckDone) kind() byte   { return 9 }
func (*ShardSum) kind() byte    { return 18 }
func (*HostSums) kind() byte    { return 19 }
func (*HostShards) kind() byte  { return 25 }
func (*Unfollow) kind() byte    { return 26 }
func (*Probe) kind() byte       { return 11 }
func (*RunsWanted) kind() byte  { return 12 }
func (*Runs) kind() byte        { return 13 }
func (*Details) kind() byte     { return 17 }

func (m *Delta) kind() byte {
	if m != nil && slices.ContainsFunc(m.Joined, isDetailed) {
		return kindDetailedDelta
	}
	return 7
}

func (m *Query) kind() byte {
	if m != nil && m.Call != nil {
		return kindCall
	}
	return 5
}

func (m *Reply) kind() byte {
	switch {
	case m != nil && m.Event != nil:
		return kindEventReply
	case m != nil && m.isForOperators():
		return kindOperatorReply
	}
	return 6
}

func (m *Send) kind() byte {
	if m != nil && m.isAddressed() {
		return kindAddressedSend
	}
	return 10
}

func (*EventsAsk) kind() byte   { return 30 }
func (*EventsPart) kind() byte  { return 31 }
func (*EventsTaken) kind() byte { return 32 }
func (*EventsLost) kind() byte  { return 33 }
func (*EventsHosts) kind() byte { return 34 }

func (*Assignments) kind() byte      { return 20 }
func (*AssignmentsTaken) kind() byte { return 21 }
func (*AssignmentTotal) kind() byte  { return 22 }
func (*AssignmentCheck) kind() byte  { return 23 }
