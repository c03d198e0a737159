package presence

// Outbox queues the frames for one connection and writes them to its socket. An Outbox that cannot
// keep up must drop the connection and not block.
type Outbox interface {
	// Push queues a frame and starts to write it. The frame is shared with other connections and
	// must not be changed. The host's lock is held, so Push must not block or call this package.
	Push(frame []byte)
	// Queue queues n whole frames, which are joined in one slice. Unlike Push, it leaves the
	// writing to Flush. It reports whether the caller must call Flush; if not, the caller of an
	// earlier Queue will.
	Queue(frames []byte, n int) (flush bool)
	// Flush writes queued frames until a write would block. No lock is held.
	Flush()
}

// Encoding is the form of the frames of a connection: the index of their encoder among the
// arguments of [NewRegistry]. 0 is the native one.
type Encoding uint8

// maxEncodings is the largest number of encoders of a registry.
const maxEncodings = 4

// EncodedOutbox is an [Outbox] that chooses the encoding of its frames. Any other one receives
// frames of the native encoder. Encoding is called once, before the connection receives a frame.
type EncodedOutbox interface {
	Outbox
	Encoding() Encoding
}

// Encoder is the native encoder. It builds the entries of listings, too.
type Encoder interface {
	FrameEncoder
	// AppendUser appends an entry of [EncodedChannel].Users to b. The first entry of a chunk needs
	// no separator.
	AppendUser(b []byte, u *User, first bool) []byte
	// AppendPrivate appends an entry of [Encoded].Private to b: the private channel of a
	// connection. If u is nil, the connection is anonymous.
	AppendPrivate(b []byte, id ID, u *User, first bool) []byte
}

// FrameEncoder builds frames. Its methods are called with the lock of a host held, so they must not
// block or call this package. They must not retain messages or pointers to users. A method may
// return several whole frames, joined in one slice, or nil if connections of its encoding receive
// nothing.
type FrameEncoder interface {
	// Members encodes the members of a channel, for [Joined].
	Members(users []View, hide Fields) []byte
	// Joined builds the answer to a join.
	Joined(j Joined) []byte
	// Left builds the answer to a leave, with ref. With a reason, it builds the frame that notifies
	// a connection of its removal from a channel.
	Left(ref, channel string, reason Reason) []byte
	// Presence builds the frame that shows watchers a diff. In another encoding than the native
	// one, a connection is not told that it has come or gone itself. If it has, the users of a diff
	// come one by one: those who left, those who joined, then all who were updated.
	Presence(d Diff) []byte
	// Message builds the frame for a message to a channel. The message is JSON.
	Message(channel string, from Source, message []byte) []byte
}

// Joined is the answer to a join.
type Joined struct {
	Ref     string // argument of [Conn.Join]; "" for [Conn.Assign]
	Channel string
	Kind    Kind
	Grant   bool        // the channel needs a grant
	May     Permissions // permissions of the connection
	Watch   Watch
	Seq     uint64 // sequence number of the snapshot; the next diff has Seq+1
	Count   int    // members, or connections if the channel is anonymous; 0 with WatchNone
	Members []byte // result of [FrameEncoder].Members; nil if members are not listed
	// Unnamed reports that the channel has too many members to name them, see [Rules.MaxNames].
	// Members is then nil.
	Unnamed bool
	// Self is the joiner as a member, with the ID by which it counts, if Members does not have it.
	// Only joiners with another encoding than the native one have it. It is nil if the joiner is no
	// member.
	Self *View
}

// Diff is what changed in a channel since the presence frame before it.
type Diff struct {
	Channel string
	Seq     uint64
	Kind    Kind   // new kind of the channel; 0 if it has not changed
	Hide    Fields // fields of the users that the frame does not have
	Joined  []View // users who came
	Left    []View // users who are gone
	Updated []View // users who are shown in another way, with the same ID
	Count   int    // as in [Joined]
	Names   Names
}

// Names reports whether frames of a channel name its members. The zero value is the usual case.
type Names uint8

// Values of [Diff.Names]. With the last two, the Diff has no users.
const (
	NamesShown    Names = iota
	NamesHidden         // too many members: from now on, watchers know none of them
	NamesReturned       // few enough members: those who join from now on receive names
)

// Reason is why a connection was removed from a channel, as clients receive it. It is "" if the
// connection left by itself.
type Reason string

// Reasons of [FrameEncoder].Left.
const (
	ReasonDenied  Reason = "denied"  // after a change of rules, the class no longer admits the connection
	ReasonRemoved Reason = "removed" // the backend has ended it, see [Conn.Unassign] and [Conn.Expel]
)
