package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Encoder makes frames of messages, of answers to joins and of diffs, as lines. All other frames
// are empty.
type Encoder struct{}

// Members implements presence.Encoder.
func (Encoder) Members(users []presence.View, _ presence.Fields) []byte {
	list := make([]string, len(users))
	for i := range users {
		list[i] = users[i].ID + users[i].Info + users[i].Status
	}
	slices.Sort(list)
	return []byte(strings.Join(list, " "))
}

// Joined returns the channel and its members, if they are listed.
func (Encoder) Joined(j presence.Joined) []byte {
	return fmt.Appendf(nil, "%s: %s", j.Channel, j.Members)
}

// Left implements presence.Encoder.
func (Encoder) Left(_, _ string, _ presence.Reason) []byte { return nil }

// Presence returns the channel and the users, with a sign before each, and their info and status.
func (Encoder) Presence(d presence.Diff) []byte {
	line := []byte(d.Channel)
	for _, u := range d.Joined {
		line = fmt.Appendf(line, " +%s%s%s", u.ID, u.Info, u.Status)
	}
	for _, u := range d.Updated {
		line = fmt.Appendf(line, " ~%s%s%s", u.ID, u.Info, u.Status)
	}
	for _, u := range d.Left {
		line = fmt.Appendf(line, " -%s", u.ID)
	}
	return line
}

// Message returns the channel, the sender and the message as a line.
func (Encoder) Message(channel string, from presence.Source, msg []byte) []byte {
	id := ""
	switch {
	case from.Backend:
		id = "(backend)"
	case from.User != nil:
		id = from.User.ID
	}
	return fmt.Appendf(nil, "%s %s %s\n", channel, id, msg)
}

// SubscriptionCount implements presence.CountEncoder.
func (Encoder) SubscriptionCount(channel string, n int) []byte {
	return fmt.Appendf(nil, "%s has %d\n", channel, n)
}

// Watchlist implements presence.WatchlistEncoder.
func (Encoder) Watchlist(online, offline []string) []byte {
	return fmt.Appendf(nil, "online %v offline %v\n", online, offline)
}

// CacheMiss implements presence.CacheEncoder.
func (Encoder) CacheMiss(channel string) []byte { return fmt.Appendf(nil, "%s miss\n", channel) }

// AppendUser implements presence.Encoder.
func (Encoder) AppendUser(b []byte, _ *presence.User, _ bool) []byte { return b }

// AppendPrivate implements presence.Encoder.
func (Encoder) AppendPrivate(b []byte, _ presence.ID, _ *presence.User, _ bool) []byte { return b }

// Outbox drops all frames.
type Outbox struct{}

// Push implements presence.Outbox.
func (Outbox) Push([]byte) {}

// Queue implements presence.Outbox.
func (Outbox) Queue([]byte, int) bool { return false }

// Flush implements presence.Outbox.
func (Outbox) Flush() {}

// Frames is an outbox that keeps what a watcher sees: the answers to joins and diffs, as lines.
type Frames struct {
	Outbox
	mu    sync.Mutex
	lines []string
}

// Push implements presence.Outbox.
func (f *Frames) Push(frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, string(frame))
}

// Lines waits for all goroutines, and returns all frames.
func (f *Frames) Lines() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

// Page is an outbox with the encoding 1 that keeps all frames, as lines.
type Page struct{ Mailbox }

// Encoding implements presence.EncodedOutbox.
func (*Page) Encoding() presence.Encoding { return 1 }

// Push implements presence.Outbox. Frames of presence, which have no line feed, are dropped.
func (p *Page) Push(frame []byte) { p.Queue(frame, 1) }

// Mailbox is an outbox that keeps messages, as lines.
type Mailbox struct {
	Outbox
	mu    sync.Mutex
	lines []string
}

// Queue implements presence.Outbox.
func (b *Mailbox) Queue(frames []byte, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := strings.Split(strings.TrimSuffix(string(frames), "\n"), "\n")
	if len(lines) != n {
		b.lines = append(b.lines, fmt.Sprintf("%d frames are said to be %d", len(lines), n))
	}
	b.lines = append(b.lines, lines...)
	return false
}

// Take empties the mailbox.
func (b *Mailbox) Take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

// Wants waits for all goroutines, and compares the messages since the last look.
func (b *Mailbox) Wants(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := b.Take(); !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
}
