package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// View is a channel as a listener sees it. It applies the frames of one connection in order. A new
// answer to a join starts it again, but earlier events are kept.
type View struct {
	mu      sync.Mutex
	joined  bool
	named   bool // the channel lists names
	seq     uint64
	count   int
	members map[string]string // e-mail addresses by ID
	events  []Event
	err     error // first contradiction
}

// Event is a user that joined or left, or the content of an answer to a join.
type Event struct {
	At     time.Time
	User   string // "" for a snapshot
	Joined bool
	// Members are the IDs in a snapshot.
	Members []string
}

// frame has the fields of all types of frames from the server.
type frame struct {
	Type    string          `json:"type"`
	ID      json.RawMessage `json:"id"`
	Code    string          `json:"code"`
	Channel string          `json:"channel"`
	Seq     *uint64         `json:"seq"`
	Members []ws.User       `json:"members"`
	Joined  []ws.User       `json:"joined"`
	Left    []ws.User       `json:"left"`
	Updated []ws.User       `json:"updated"`
	Count   *int            `json:"count"`
}

// apply applies a frame of the channel. It ignores frames after the first contradiction.
func (v *View) apply(f *frame) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return
	}
	if f.Seq == nil || f.Count == nil {
		v.err = fmt.Errorf("a %s frame has no seq or no count", f.Type)
		return
	}
	if f.Type == "joined" {
		v.err = v.snapshot(f)
	} else {
		v.err = v.diff(f)
	}
	if v.err == nil && v.named && *f.Count != len(v.members) {
		v.err = fmt.Errorf("frame %d of type %s says that there are %d, the list has %d", v.seq, f.Type, *f.Count, len(v.members))
	}
	v.count = *f.Count
}

func (v *View) snapshot(f *frame) error {
	v.joined, v.named, v.seq = true, f.Members != nil, *f.Seq
	v.members = make(map[string]string, len(f.Members))
	e := Event{At: time.Now()}
	for _, u := range f.Members {
		if _, double := v.members[u.ID]; double {
			return fmt.Errorf("%s is in a snapshot twice", u.ID)
		}
		v.members[u.ID] = u.Email
		e.Members = append(e.Members, u.ID)
	}
	v.events = append(v.events, e)
	return nil
}

func (v *View) diff(f *frame) error {
	now := time.Now()
	if !v.joined {
		return errors.New("a presence frame came before the answer to the join")
	}
	if *f.Seq != v.seq+1 {
		return fmt.Errorf("frame %d comes after frame %d", *f.Seq, v.seq)
	}
	v.seq++
	for _, u := range f.Left {
		if _, there := v.members[u.ID]; !there {
			return fmt.Errorf("frame %d: %s left and was not there", v.seq, u.ID)
		}
		delete(v.members, u.ID)
		v.events = append(v.events, Event{At: now, User: u.ID})
	}
	for _, u := range f.Joined {
		if _, there := v.members[u.ID]; there {
			return fmt.Errorf("frame %d: %s joined and was there", v.seq, u.ID)
		}
		v.members[u.ID] = u.Email
		v.events = append(v.events, Event{At: now, User: u.ID, Joined: true})
	}
	for _, u := range f.Updated {
		if _, there := v.members[u.ID]; !there {
			return fmt.Errorf("frame %d: %s was updated and was not there", v.seq, u.ID)
		}
		v.members[u.ID] = u.Email
	}
	return nil
}

// Members returns the members, sorted by ID, or an error if the frames contradict each other.
func (v *View) Members() ([]ws.User, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	users := []ws.User{}
	for id, email := range v.members {
		users = append(users, ws.User{ID: id, Email: email})
	}
	slices.SortFunc(users, byID)
	return users, v.err
}

// Count returns the number in the last frame, or an error if the frames contradict each other.
func (v *View) Count() (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.count, v.err
}

// Events returns all events, or an error if the frames contradict each other.
func (v *View) Events() ([]Event, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.events), v.err
}

// Since returns how often the user joined and left after a time, and the last time.
func (v *View) Since(begin time.Time, user string) (joined, left int, last time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.events {
		if e.User != user || e.At.Before(begin) {
			continue
		}
		if e.Joined {
			joined++
		} else {
			left++
		}
		last = e.At
	}
	return joined, left, last
}
