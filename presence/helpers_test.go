package presence

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tape is an Encoder whose frames are indexes into a list, so that tests compare values and not
// bytes.
type tape struct {
	mu     sync.Mutex
	values []any // []User, Joined, Diff, left or sent
}

// left has the arguments of Encoder.Left.
type left struct{ ref, channel, reason string }

// Members makes every second list long enough for a channel to keep.
func (tp *tape) Members(users []View, _ Fields) []byte {
	b := tp.put(seenUsers(users))
	if b[7]%2 == 0 {
		b = append(b, make([]byte, minKeptSnapshot)...)
	}
	return b
}

func (tp *tape) Joined(j Joined) []byte { return tp.put(j) }
func (tp *tape) Presence(d Diff) []byte { return tp.put(d) }
func (tp *tape) Left(ref, channel string, reason Reason) []byte {
	return tp.put(left{ref, channel, string(reason)})
}

// sent has the arguments of Encoder.Message, with the sender's ID or "(backend)".
type sent struct{ channel, from, message string }

func (tp *tape) Message(channel string, from Source, message []byte) []byte {
	s := sent{channel: channel, message: string(message)}
	switch {
	case from.Backend:
		s.from = "(backend)"
	case from.Shown != nil:
		s.from = from.Shown.Sender
	case from.User != nil:
		s.from = from.User.ID
	}
	return tp.put(s)
}

// AppendUser appends a listed user, for listingText.
func (tp *tape) AppendUser(b []byte, u *User, first bool) []byte {
	if !first {
		b = append(b, ' ')
	}
	b = append(b, u.ID...)
	if u.Email != "" {
		b = append(append(append(b, '<'), u.Email...), '>')
	}
	return b
}

// AppendPrivate appends a line.
func (tp *tape) AppendPrivate(b []byte, id ID, u *User, first bool) []byte {
	if !first {
		b = append(b, '\n')
	}
	b = append(append(b, id.PrivateChannel()...), ' ')
	if u == nil {
		return append(b, '1')
	}
	return append(tp.AppendUser(append(b, '['), u, true), ']')
}

func (tp *tape) put(v any) []byte {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.values = append(tp.values, v)
	return binary.BigEndian.AppendUint64(nil, uint64(len(tp.values)-1))
}

func (tp *tape) get(frame []byte) any {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.values[binary.BigEndian.Uint64(frame)]
}

// members returns the members in a Joined, or nil if it lists none.
func (tp *tape) members(j Joined) []User {
	if j.Members == nil {
		return nil
	}
	return tp.get(j.Members).([]User)
}

// text formats a frame as one line, for example "presence room seq=2 count=1 +b -a".
func (tp *tape) text(frame []byte) string { return tp.textOf(tp.get(frame)) }

// textOf formats a frame. One of the second encoder begins with "*".
func (tp *tape) textOf(frame any) string {
	var b strings.Builder
	switch v := frame.(type) {
	case foreignFrame:
		b.WriteString("*" + tp.textOf(v.of))
	case Joined:
		fmt.Fprintf(&b, "joined %s%s %s", v.Channel, refText(v.Ref), v.Kind)
		if v.Watch != WatchNone {
			fmt.Fprintf(&b, " seq=%d count=%d", v.Seq, v.Count)
		}
		if v.Unnamed {
			b.WriteString(" unnamed")
		}
		if v.Members != nil {
			fmt.Fprintf(&b, " %s", userTexts(tp.members(v)))
		}
		if v.Self != nil {
			fmt.Fprintf(&b, " self=%s", userTexts(seenUsers([]View{*v.Self}))[0])
		}
	case Diff:
		fmt.Fprintf(&b, "presence %s seq=%d count=%d", v.Channel, v.Seq, v.Count)
		if v.Kind != 0 {
			fmt.Fprintf(&b, " kind=%s", v.Kind)
		}
		b.WriteString([]string{"", " names=false", " names=true"}[v.Names])
		for _, change := range []struct {
			sign  string
			users []View
		}{{"+", v.Joined}, {"-", v.Left}, {"~", v.Updated}} {
			for _, u := range userTexts(seenUsers(change.users)) {
				fmt.Fprintf(&b, " %s%s", change.sign, u)
			}
		}
	case left:
		fmt.Fprintf(&b, "left %s%s", v.channel, refText(v.ref))
		if v.reason != "" {
			fmt.Fprintf(&b, " (%s)", v.reason)
		}
	case sent:
		fmt.Fprintf(&b, "message %s %s: %s", v.channel, v.from, v.message)
	default:
		fmt.Fprintf(&b, "unexpected frame %#v", v)
	}
	return b.String()
}

// foreignFrame is a frame of the second encoder of a world.
type foreignFrame struct{ of any }

// foreignTape is the second encoder of a world.
type foreignTape struct{ *tape }

func (tp foreignTape) Joined(j Joined) []byte { return tp.put(foreignFrame{j}) }
func (tp foreignTape) Presence(d Diff) []byte { return tp.put(foreignFrame{d}) }

func (tp foreignTape) Left(ref, channel string, reason Reason) []byte {
	return tp.put(foreignFrame{left{ref, channel, string(reason)}})
}

func (tp foreignTape) Message(channel string, from Source, message []byte) []byte {
	return tp.put(foreignFrame{tp.get(tp.tape.Message(channel, from, message))})
}

func refText(ref string) string {
	if ref == "" {
		return ""
	}
	return "#" + ref
}

// seenUsers returns users as frames show them: after the decision of a Shower, the e-mail address
// is the record.
func seenUsers(views []View) []User {
	users := make([]User, len(views))
	for i, v := range views {
		users[i] = v.User
		if v.Shown != nil {
			users[i] = User{ID: v.Shown.ID, Email: v.Shown.Record}
		}
	}
	return users
}

// userTexts formats each user as "id" or "id<email>", with "[info status]" if there is one, sorted.
func userTexts(users []User) []string {
	texts := make([]string, len(users))
	for i, u := range users {
		texts[i] = u.ID
		if u.Email != "" {
			texts[i] += "<" + u.Email + ">"
		}
		if more := u.Info + u.Status; more != "" {
			texts[i] += "[" + more + "]"
		}
	}
	slices.Sort(texts)
	return texts
}

// knownText formats what is known of a user besides the ID.
func knownText(u User) string { return u.Email + "[" + u.Info + " " + u.Status + "]" }

// parseUser is the inverse of userTexts, with an info and without a status; "" is anonymous.
func parseUser(text string) *User {
	if text == "" {
		return nil
	}
	text, info, _ := strings.Cut(strings.TrimSuffix(text, "]"), "[")
	id, email, _ := strings.Cut(strings.TrimSuffix(text, ">"), "<")
	return &User{ID: id, Email: email, Info: info}
}

// inbox is an Outbox that keeps its frames.
type inbox struct {
	tape     *tape
	encoding Encoding
	mu       sync.Mutex
	frames   [][]byte
}

func (in *inbox) Encoding() Encoding { return in.encoding }

// Queue splits the frames again: frames of a tape have one size.
func (in *inbox) Queue(frames []byte, n int) bool {
	for part := range slices.Chunk(frames, len(frames)/n) {
		in.Push(part)
	}
	return false
}

func (in *inbox) Flush() {}

func (in *inbox) Push(frame []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.encoding == 0 {
		in.frames = append(in.frames, frame)
		return
	}
	for part := range slices.Chunk(frame, 8) { // several can be joined
		in.frames = append(in.frames, part)
	}
}

// take empties the inbox.
func (in *inbox) take() [][]byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	frames := in.frames
	in.frames = nil
	return frames
}

// world is a registry with one host.
type world struct {
	t     testing.TB
	tape  *tape
	reg   *Registry
	name  HostName
	rules *Rules
}

// useRules replaces the host's source of rules, which stands for a source with another answer.
func (h *Host) useRules(rules *Rules) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.source = rules
}

// SetRules puts rules into effect, and judges by them.
func (h *Host) SetRules(rules *Rules) {
	h.useRules(rules)
	h.Reclassify()
}

func newWorld(t testing.TB, rules *Rules) *world {
	t.Helper()
	name, err := ParseHostName("portal.example.com")
	if err != nil {
		t.Fatal(err)
	}
	tp := new(tape)
	return &world{t: t, tape: tp, reg: NewRegistry(tp, foreignTape{tp}), name: name, rules: rules}
}

// client is a connection with the frames that it has received.
type client struct {
	*Conn
	t  testing.TB
	in *inbox
}

// connect connects a user, written as "id" or "id<email>"; "" is anonymous.
func (w *world) connect(user string) *client {
	w.t.Helper()
	return w.connectIn(0, user)
}

// connectIn is connect for a connection with an encoding.
func (w *world) connectIn(e Encoding, user string) *client {
	w.t.Helper()
	in := &inbox{tape: w.tape, encoding: e}
	c, err := w.reg.Connect(w.name, w.rules, parseUser(user), in)
	if err != nil {
		w.t.Fatalf("connect %q: %v", user, err)
	}
	return &client{Conn: c, t: w.t, in: in}
}

// host returns the host, which must have a connection.
func (w *world) host() *Host {
	w.t.Helper()
	h := w.reg.Host(w.name)
	if h == nil {
		w.t.Fatalf("the host %s has no connection", w.name)
	}
	return h
}

// channels formats the listing of the channels, without private ones, as sorted lines.
func (w *world) channels(per Per) []string {
	w.t.Helper()
	var lines []string
	for _, l := range w.host().Channels(per) {
		if l.Kind != Private {
			lines = append(lines, listingText(l))
		}
	}
	slices.Sort(lines)
	return lines
}

// listingText formats a listing as "room [a b]" or "room 2".
func listingText(l Listing) string {
	if l.Users != nil {
		return fmt.Sprintf("%s %s", l.Channel, userTexts(l.Users))
	}
	return fmt.Sprintf("%s %d", l.Channel, l.Count)
}

// join joins a channel, without an error, and leaves the answer in the inbox.
func (c *client) join(channel string, watch Watch) {
	c.t.Helper()
	if err := c.Join(channel, watch, ""); err != nil {
		c.t.Fatalf("join %q: %v", channel, err)
	}
}

// enter enters a channel with a proof, as a user like in connect, or as nobody else if it is "".
func (c *client) enter(channel string, watch Watch, as string) {
	c.t.Helper()
	e := Entry{Watch: watch, Proof: true}
	if u := parseUser(as); u != nil {
		e.Member = &Identity{ID: u.ID, Email: u.Email, Info: u.Info}
	}
	if err := c.Enter(channel, e); err != nil {
		c.t.Fatalf("enter %q: %v", channel, err)
	}
}

func (c *client) leave(channel string) {
	c.t.Helper()
	if err := c.Leave(channel, ""); err != nil {
		c.t.Fatalf("leave %q: %v", channel, err)
	}
}

func (c *client) authenticate(user string) {
	c.t.Helper()
	if err := c.Authenticate(*parseUser(user), nil); err != nil {
		c.t.Fatalf("authenticate %q: %v", user, err)
	}
}

// heard returns the frames since the last call, as text.
func (c *client) heard() []string {
	frames := c.in.take()
	lines := make([]string, len(frames))
	for i, f := range frames {
		lines[i] = c.in.tape.text(f)
	}
	return lines
}

// hears checks all frames since the last call, in order.
func (c *client) hears(want ...string) {
	c.t.Helper()
	if got := c.heard(); !slices.Equal(got, want) {
		c.t.Errorf("frames:\n  got  %q\n  want %q", got, want)
	}
}

// forget drops the frames that the clients have received.
func forget(clients ...*client) {
	for _, c := range clients {
		c.in.take()
	}
}

// wantLines compares a listing.
func wantLines(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("listing:\n  got  %q\n  want %q", got, want)
	}
}

// classes is a Classifier by table. A name without an entry is authenticated.
type classes map[string]Class

func (cs classes) Classify(_ HostName, channel string) (Class, error) {
	if class, ok := cs[channel]; ok {
		return class, nil
	}
	return Class{Kind: Authenticated}, nil
}

// classifierFunc is a function as a Classifier.
type classifierFunc func(channel string) (Class, error)

func (f classifierFunc) Classify(_ HostName, channel string) (Class, error) { return f(channel) }
