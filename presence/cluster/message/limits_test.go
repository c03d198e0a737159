package message

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// deltaOf returns a delta that is right, changed.
func deltaOf(change func(*Delta)) *Delta {
	d := &Delta{Host: portal, Channel: "lobby", Parts: 1}
	change(d)
	return d
}

// sendOf returns a message that is right, changed.
func sendOf(change func(*Send)) *Send {
	s := &Send{Host: portal, Channels: []string{"lobby"}, Message: []byte("{}")}
	change(s)
	return s
}

// ascending returns n hashes in order.
func ascending(n int) []uint64 {
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = uint64(i) << 48
	}
	return hashes
}

func callOf(call Call) *Query { return &Query{Host: portal, Kind: KindLeave, Call: &call} }

func replyOf(listing presence.Listing) *Reply {
	return &Reply{Channels: []presence.Listing{listing}}
}

// recordOf returns assignments that are right, changed.
func detailsOf(u presence.Detail) *Details {
	return &Details{Host: portal, Users: []presence.Detail{u}}
}

func recordOf(change func(*assignment.Record)) *Assignments {
	r := assignment.Record{Host: portal, User: "u-1", Channel: "lobby", Mode: assignment.Ignore}
	change(&r)
	return &Assignments{Host: portal, Records: []assignment.Record{r}}
}

func TestLongestAssignmentsFit(t *testing.T) {
	label := strings.Repeat("a", 63)
	host := mustHost(strings.Join([]string{label, label, label, label[:61]}, "."))
	from := Sender{DataCenter: strings.Repeat("d", maxName), Pod: strings.Repeat("P", maxName), Seq: math.MaxUint64}
	m := &Assignments{ID: math.MaxUint64, Host: host}
	size := 0
	for {
		r := assignment.Record{Host: host, User: strings.Repeat("u", presence.MaxUserID), Channel: strings.Repeat("c", presence.MaxChannelName)}
		if size += AssignmentSize(&r); size > MaxAssignments {
			break
		}
		m.Records = append(m.Records, r)
	}
	payload, err := NewCodec(secret).Append(nil, subject, from, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := NewCodec(secret).Decode(subject, payload); err != nil {
		t.Error(err)
	}
}

func TestAppendRefusesAssignmentsOfAnotherHost(t *testing.T) {
	m := recordOf(func(r *assignment.Record) { r.Host = mustHost("other.example.com") })
	if _, err := NewCodec("").Append(nil, subject, web1, m); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestLongestNamesFit(t *testing.T) {
	label := strings.Repeat("a", 63)
	host := mustHost(strings.Join([]string{label, label, label, label[:61]}, "."))
	user := strings.Repeat("u", presence.MaxUserID)
	c := NewCodec(secret)
	from := Sender{DataCenter: strings.Repeat("d", maxName), Pod: strings.Repeat("P", maxName), Seq: math.MaxUint64}
	m := &Delta{Host: host, Channel: strings.Repeat("c", presence.MaxChannelName), Part: MaxParts - 1, Parts: MaxParts, Delta: presence.Delta{
		Clock: math.MaxUint64, Conns: maxCount, Lost: maxCount,
		Joined: []presence.Member{member(user, strings.Repeat("e", presence.MaxEmail), math.MinInt64)},
		Left:   []presence.Departure{{ID: user}},
	}}
	payload, err := c.Append(nil, subject, from, m)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := c.Decode(subject, payload); err != nil || got != from {
		t.Errorf("got %+v, %v", got, err)
	}
	if fixed := len(payload) - DeltaSize(&m.Delta); fixed > MaxPayload-MaxDelta {
		t.Errorf("a delta with the longest names takes %d bytes, which leaves no %d", fixed, MaxDelta)
	}
}

// What presence takes has to have room in a payload, whatever the names are.
func TestLargestMessageFits(t *testing.T) {
	label := strings.Repeat("a", 63)
	from := Sender{DataCenter: strings.Repeat("d", maxName), Pod: strings.Repeat("P", maxName), Seq: math.MaxUint64}
	m := &Send{
		Host: mustHost(strings.Join([]string{label, label, label, label[:61]}, ".")),
		From: presence.Source{User: &presence.User{ID: strings.Repeat("u", presence.MaxUserID), Email: strings.Repeat("e", presence.MaxEmail)}},
	}
	names := 0
	for i := range presence.MaxTargets {
		m.Channels = append(m.Channels, strings.Repeat("c", 1000)+strconv.Itoa(i))
		names += len(m.Channels[i])
	}
	m.Message = []byte(`{"a":"` + strings.Repeat("x", presence.MaxMessage-names-8) + `"}`)
	users := *m
	users.From, users.Except, users.Key = presence.Source{Backend: true}, presence.ID{1}, presence.MessageKey{1}
	for i := range presence.MaxUsers {
		users.Users = append(users.Users, fmt.Sprintf("%0*d", presence.MaxUserID, i))
	}
	c := NewCodec(secret)
	for _, m := range []*Send{m, &users} {
		payload, err := c.Append(nil, subject, from, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Decode(subject, payload); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %T, %v", got, err)
		}
	}
}

func TestLargestCallFits(t *testing.T) {
	label := strings.Repeat("a", 63)
	from := Sender{DataCenter: strings.Repeat("d", maxName), Pod: strings.Repeat("P", maxName), Seq: math.MaxUint64}
	m := &Query{ID: math.MaxUint64, Try: maxCount, Kind: KindLeave, Host: mustHost(strings.Join([]string{label, label, label, label[:61]}, ".")), Call: &Call{
		Reason: strings.Repeat("r", MaxReason), Channels: slices.Repeat([]string{strings.Repeat("c", presence.MaxMessage/presence.MaxTargets)}, presence.MaxTargets),
	}}
	users, conns := *m.Call, *m.Call
	for i := range presence.MaxUsers {
		users.Users = append(users.Users, fmt.Sprintf("%0*d", presence.MaxUserID, i))
		conns.Conns = append(conns.Conns, presence.ID{byte(i), byte(i >> 8), 1})
	}
	c := NewCodec(secret)
	for _, call := range []*Call{&users, &conns} {
		m.Call = call
		payload, err := c.Append(nil, subject, from, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Decode(subject, payload); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %T, %v", got, err)
		}
	}
}

func TestAppendRefusesWhatNobodyTakes(t *testing.T) {
	long := strings.Repeat("x", presence.MaxChannelName+1)
	tests := []struct {
		name string
		from Sender
		m    Message
	}{
		{"no message", web1, nil},
		{"no data center", Sender{Pod: "web-1"}, &Goodbye{}},
		{"no pod", Sender{DataCenter: "us-east-1"}, &Goodbye{}},
		{"a pod with a slash", Sender{DataCenter: "us-east-1", Pod: "a/b"}, &Goodbye{}},
		{"a pod of 65 bytes", Sender{DataCenter: "us-east-1", Pod: strings.Repeat("a", 65)}, &Goodbye{}},
		{"too many connections", web1, &Heartbeat{Connections: maxCount + 1}},
		{"sites without parts", web1, &Sites{}},
		{"sites in a part that is none", web1, &Sites{Part: 2, Parts: 2}},
		{"sites in too many parts", web1, &Sites{Parts: MaxParts + 1}},
		{"a site of too many sets", web1, &Sites{Parts: 1, Sites: []Site{{Sets: make([][]string, maxSets+1)}}}},
		{"a pattern too long", web1, &Sites{Parts: 1, Sites: []Site{{Sets: [][]string{{strings.Repeat("x", maxPattern+1)}}}}}},
		{"a query of no kind", web1, &Query{Host: portal}},
		{"a query of an unknown kind", web1, &Query{Host: portal, Kind: KindNames + 1}},
		{"a call of a kind without one", web1, &Query{Host: portal, Kind: KindNames, Call: &Call{}}},
		{"a call of an unknown kind", web1, &Query{Host: portal, Kind: KindLeave + 1, Call: &Call{}}},
		{"a call about no host", web1, &Query{Kind: KindOnline, Call: &Call{}}},
		{"a call about too many users", web1, callOf(Call{Users: slices.Repeat([]string{"u"}, presence.MaxUsers+1)})},
		{"a call about a user without an ID", web1, callOf(Call{Users: []string{""}})},
		{"a call about too many connections", web1, callOf(Call{Conns: slices.Repeat([]presence.ID{{1}}, presence.MaxUsers+1)})},
		{"a call about too many channels", web1, callOf(Call{Channels: slices.Repeat([]string{"c"}, presence.MaxTargets+1)})},
		{"a call about channels too long", web1, callOf(Call{Channels: slices.Repeat([]string{long[1:]}, 65)})},
		{"a call with a reason too long", web1, callOf(Call{Reason: long[:MaxReason+1]})},
		{"a query without a host", web1, &Query{Kind: KindCount}},
		{"a query for a channel too long", web1, &Query{Kind: KindUsers, Host: portal, Channel: long}},
		{"a query for a page too large", web1, &Query{Kind: KindUsers, Host: portal, Page: presence.Page{Limit: presence.MaxPage + 1}}},
		{"a query for a page after no channel", web1, &Query{Kind: KindUsers, Host: portal, Page: presence.Page{After: "a\nb"}}},
		{"a query for a prefix too long", web1, &Query{Kind: KindUsers, Host: portal, Page: presence.Page{Prefix: long}}},
		{"a query for a user too long", web1, &Query{Kind: KindExplain, Host: portal, User: strings.Repeat("x", presence.MaxUserID+1)}},
		{"a query of a kind beyond the last", web1, &Query{Host: portal, Kind: KindListeners + 1}},
		{"listeners of no host", web1, &Query{Kind: KindListeners}},
		{"numbers of no host", web1, &Reply{Hosts: []HostCount{{LoggedIn: 1}}}},
		{"a number of a host out of range", web1, &Reply{Hosts: []HostCount{{Host: portal, Hidden: maxCount + 1}}}},
		{"a listener without a connection", web1, &Reply{Listeners: []Listener{{User: "u-1"}}}},
		{"a listener without a user", web1, &Reply{Listeners: []Listener{{Conn: presence.ID{1}}}}},
		{"a listing of no kind", web1, replyOf(presence.Listing{Channel: "a"})},
		{"a listing of an unknown kind", web1, replyOf(presence.Listing{Channel: "a", Kind: 4})},
		{"a listing without a channel", web1, replyOf(presence.Listing{Kind: presence.Private})},
		{"a listing of less than nothing", web1, replyOf(presence.Listing{Channel: "a", Kind: presence.Private, Count: -1})},
		{"a listing with times of some", web1, replyOf(presence.Listing{Channel: "a", Kind: presence.Private, Users: users(2), Seen: make([]int64, 1)})},
		{"a listing with times of nobody", web1, replyOf(presence.Listing{Channel: "a", Kind: presence.Private, Seen: make([]int64, 1)})},
		{"too many parts of a reply", web1, &Reply{Part: maxCount + 1}},
		{"a connection with a long ID", web1, &Reply{Conns: []Connection{{ID: strings.Repeat("x", maxName+1)}}}},
		{"no host", web1, &Delta{Channel: "lobby", Parts: 1}},
		{"no channel", web1, &Delta{Host: portal, Parts: 1}},
		{"a channel too long", web1, deltaOf(func(d *Delta) { d.Channel = long })},
		{"a channel that is not UTF-8", web1, deltaOf(func(d *Delta) { d.Channel = "\xff" })},
		{"a user too long", web1, deltaOf(func(d *Delta) { d.Left = []presence.Departure{{ID: strings.Repeat("x", 257)}} })},
		{"an address too long", web1, deltaOf(func(d *Delta) { d.Joined = []presence.Member{member("u", strings.Repeat("x", 321), 0)} })},
		{"parts of changes", web1, deltaOf(func(d *Delta) { d.Parts, d.Base = 2, 1 })},
		{"an info of a membership without a time", web1, deltaOf(func(d *Delta) {
			d.Joined = []presence.Member{{User: presence.User{ID: "u-1", Status: "{}"}, StatusTime: 1, Own: true}}
		})},
		{"an info of a membership that is no JSON", web1, deltaOf(func(d *Delta) {
			d.Joined = []presence.Member{{User: presence.User{ID: "u-1", Info: "{} {}"}, InfoTime: 1, Own: true}}
		})},
		{"fewer than no connections without a user", web1, deltaOf(func(d *Delta) { d.Userless = -1 })},
		{"a number below 0", web1, deltaOf(func(d *Delta) { d.Conns = -1 })},
		{"a check without a host", web1, &Check{}},
		{"a message to no host", web1, &Send{Channels: []string{"lobby"}, Message: []byte("{}")}},
		{"a message to no channel", web1, sendOf(func(s *Send) { s.Channels = nil })},
		{"a message to too many channels", web1, sendOf(func(s *Send) { s.Channels = slices.Repeat(s.Channels, presence.MaxTargets+1) })},
		{"a message to a channel without a name", web1, sendOf(func(s *Send) { s.Channels = []string{"lobby", ""} })},
		{"a message to a channel too long", web1, sendOf(func(s *Send) { s.Channels = []string{long} })},
		{"a message from a user too long", web1, sendOf(func(s *Send) { s.From.User = &presence.User{ID: strings.Repeat("x", presence.MaxUserID+1)} })},
		{"a message from a user and the backend", web1, sendOf(func(s *Send) { s.From = presence.Source{User: &presence.User{ID: "u-1"}, Backend: true} })},
		{"a message of a user to users", web1, sendOf(func(s *Send) { s.From.User, s.Users = &presence.User{ID: "u-1"}, []string{"u-2"} })},
		{"a message of a connection with a key", web1, sendOf(func(s *Send) { s.Key[0] = 1 })},
		{"a message to too many users", web1, sendOf(func(s *Send) {
			s.From.Backend, s.Users = true, slices.Repeat([]string{"u"}, presence.MaxUsers+1)
		})},
		{"a message to who is signed in as one of two users", web1, sendOf(func(s *Send) {
			s.From.Backend, s.From.To, s.Users = true, "u-1", []string{"u-1", "u-2"}
		})},
		{"a message to a user without an ID", web1, sendOf(func(s *Send) { s.From.Backend, s.Users = true, []string{"u", ""} })},
		{"a message that is empty", web1, sendOf(func(s *Send) { s.Message = nil })},
		{"a message that is no object", web1, sendOf(func(s *Send) { s.Message = []byte(`[{}]`) })},
		{"a message that is half an object", web1, sendOf(func(s *Send) { s.Message = []byte(`{"a":{}`) })},
		{"a message that ends its frame", web1, sendOf(func(s *Send) { s.Message = []byte(`{}}{"type":"welcome"}`) })},
		{"a message in white space", web1, sendOf(func(s *Send) { s.Message = []byte(` {}`) })},
		{"a message that is not UTF-8", web1, sendOf(func(s *Send) { s.Message = []byte("{\"a\":\"\xff\"}") })},
		{"a message too large", web1, sendOf(func(s *Send) {
			s.Message = []byte(`{"a":"` + strings.Repeat("x", presence.MaxMessage) + `"}`)
		})},
		{"details without a host", web1, &Details{}},
		{"details of nobody", web1, &Details{Host: portal, Users: make([]presence.Detail, 1)}},
		{"details of a user too long", web1, detailsOf(presence.Detail{ID: strings.Repeat("x", presence.MaxUserID+1)})},
		{"an info without a time", web1, detailsOf(presence.Detail{ID: "u-1", Info: "{}", With: presence.FieldInfo})},
		{"a status without a time", web1, detailsOf(presence.Detail{ID: "u-1", InfoTime: 1, With: presence.FieldStatus})},
		{"an info that is no object", web1, detailsOf(presence.Detail{ID: "u-1", Info: "[]", InfoTime: 1, With: presence.FieldInfo})},
		{"a status too long", web1, detailsOf(presence.Detail{
			ID: "u-1", Status: `{"a":"` + strings.Repeat("x", presence.MaxStatus) + `"}`, StatusTime: 1, With: presence.FieldStatus,
		})},
		{"assignments without a host", web1, &Assignments{}},
		{"a total that nobody can send back", web1, &AssignmentTotal{Wanted: true}},
		{"a check with too many parts", web1, &AssignmentCheck{ID: 1, Outside: assignment.Shards + 1}},
		{"an answer to a check with too many parts", web1, &AssignmentsTaken{ID: 1, Outside: assignment.Shards + 1}},
		{"an assignment of nobody", web1, recordOf(func(r *assignment.Record) { r.User = "" })},
		{"an assignment of a user too long", web1, recordOf(func(r *assignment.Record) { r.User = strings.Repeat("x", presence.MaxUserID+1) })},
		{"an assignment to no channel", web1, recordOf(func(r *assignment.Record) { r.Channel = "" })},
		{"an assignment that is blind", web1, recordOf(func(r *assignment.Record) { r.Blind = true })},
		{"a confirmation with a clock too high", web1, &AssignmentsTaken{Held: assignment.Held{
			Later: assignment.Version{Clock: assignment.MaxClock + 1},
		}}},
		{"an assignment to a channel too long", web1, recordOf(func(r *assignment.Record) { r.Channel = long })},
		{"an assignment of an unknown mode", web1, recordOf(func(r *assignment.Record) { r.Mode = assignment.Receive + 1 })},
		{"a record of an unknown kind", web1, recordOf(func(r *assignment.Record) { *r = assignment.Record{Host: portal, User: "1", Kind: 3} })},
		{"an epoch of no shard", web1, recordOf(func(r *assignment.Record) {
			*r = assignment.Record{Host: portal, User: "8", Kind: assignment.KindEpoch}
		})},
		{"a revocation of a channel", web1, recordOf(func(r *assignment.Record) { r.Mode, r.Kind = 0, assignment.KindRevocation })},
		{"a revocation without an end", web1, recordOf(func(r *assignment.Record) {
			*r = assignment.Record{Host: portal, User: "u-1", Kind: assignment.KindRevocation, Until: 1 << 53}
		})},
		{"an assignment with a clock too high", web1, recordOf(func(r *assignment.Record) { r.Version.Clock = assignment.MaxClock + 1 })},
		{"too many IDs of runs", web1, &RunsWanted{IDs: make([]uint64, MaxRunIDs+1)}},
		{"too many runs", web1, &Runs{Runs: slices.Repeat([]Run{{DataCenter: "dc", Pod: "a", Standing: Heard}}, MaxRuns+1)}},
		{"a run without a pod", web1, &Runs{Runs: []Run{{DataCenter: "dc", Standing: Heard}}}},
		{"a run without a standing", web1, &Runs{Runs: []Run{{DataCenter: "dc", Pod: "a"}}}},
		{"a run of an unknown standing", web1, &Runs{Runs: []Run{{DataCenter: "dc", Pod: "a", Standing: Forgotten + 1}}}},
		{"a pod known for too long", web1, &Runs{Runs: []Run{{DataCenter: "dc", Pod: "a", Standing: Missed, Tenure: Tenure{Since: MaxAge + 1}}}}},
		{"a run too old", web1, &Runs{Runs: []Run{{DataCenter: "dc", Pod: "a", Standing: Missed, Age: MaxAge + 1}}}},
		{"hashes out of order", web1, &Reply{Count: Count{Hashes: []uint64{2, 1}}}},
		{"a hash twice", web1, &Reply{Count: Count{Hashes: []uint64{1, 2, 2}}}},
		{"too many hashes", web1, &Reply{Count: Count{Hashes: ascending(MaxHashes + 1)}}},
		{"a part of a count that is not wanted whole", web1, &Query{Kind: KindCount, Host: portal, From: 1}},
		{"a bundle of one message", web1, &Bundle{[]Message{&Query{Kind: KindPing}}}},
		{"a heartbeat in a bundle", web1, &Bundle{[]Message{&Query{Kind: KindPing}, &Heartbeat{}}}},
		{"nothing in a bundle", web1, &Bundle{[]Message{&Query{Kind: KindPing}, nil}}},
		{"a bundle in a bundle", web1, &Bundle{[]Message{
			&Query{Kind: KindPing}, &Bundle{[]Message{&Query{Kind: KindPing}, &Query{Kind: KindPing}}},
		}}},
		{"a check of a channel without a name", web1, &Check{Host: portal, Channels: make([]CheckChannel, 1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := []byte("before")
			got, err := NewCodec("").Append(before, subject, tt.from, tt.m)
			if !errors.Is(err, ErrMalformed) || string(got) != "before" {
				t.Fatalf("got %q, %v", got, err)
			}
			if tt.m == nil {
				return
			}
			e := encoder{} // what a pod that does not check would send is refused too
			e.byte(Version)
			e.sender(tt.from)
			e.message(tt.m)
			if _, m, err := NewCodec("").Decode(subject, e.b); !errors.Is(err, ErrMalformed) {
				t.Errorf("decoding gives %+v, %v", m, err)
			}
		})
	}
}

func TestAppendRefusesOversized(t *testing.T) {
	m := &Reply{Members: slices.Repeat([]presence.Member{member("u", "", 0)}, MaxPayload/4-20)}
	pad := strings.Repeat("u", MaxPayload-len(mustAppend(t, NewCodec(""), m))+1)

	m.Members[0].ID = pad
	payload := mustAppend(t, NewCodec(""), m)
	if len(payload) != MaxPayload {
		t.Fatalf("%d bytes, not the most", len(payload))
	}
	mustDecode(t, NewCodec(""), payload)

	// The end of an authenticated payload counts.
	if got, err := NewCodec(secret).Append([]byte("before"), subject, web1, m); !errors.Is(err, ErrOversized) || string(got) != "before" {
		t.Errorf("with the secret: %d bytes, %v", len(got), err)
	}
	m.Members[0].ID = pad + "u"
	if got, err := NewCodec("").Append([]byte("before"), subject, web1, m); !errors.Is(err, ErrOversized) || string(got) != "before" {
		t.Errorf("with a byte more: %d bytes, %v", len(got), err)
	}
}

// body returns the payload of a type with a body that no encoder writes.
func body(kind byte, parts ...[]byte) []byte {
	e := encoder{}
	e.byte(Version)
	e.sender(web1)
	e.byte(kind)
	return append(e.b, bytes.Join(parts, nil)...)
}

func TestDecodeRefusesWhatIsWrittenInAnotherWay(t *testing.T) {
	host := append([]byte{18}, "portal.example.com"...)
	tests := []struct {
		name string
		body []byte
	}{
		{"no type", body(0)[:len(body(0))-1]},
		{"an unknown type", body(11)},
		{"an unknown flag of a message", body(10, host, []byte{1, 1, 'c', 16, 2, '{', '}'})},
		{"what is shown of no user", body(10, host, []byte{1, 1, 'c', 4, 2, '{', '}'})},
		{"a message to who is signed in as nobody", body(15, host, []byte{1, 1, 'c', 2, 2, '{', '}', 5, 0}, make([]byte, 15), []byte{1})},
		{"an info of a membership without a time", body(14, host, []byte{1, 'c', 0, 1, 1, 0, 1, 0, 0, 1, 1, 'u', 0, 0, 0, 1, 0, 4})},
		{"an info of a membership that is no JSON", body(14, host, []byte{1, 'c', 0, 1, 1, 0, 1, 0, 0, 1, 1, 'u', 0, 0, 0, 1, 0, 5, 1, '[', 2})},
		{"no connections without a user", body(6, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x11, 1, 'c', 0, 0, 0, 0})},
		{"a message of a user and the backend", body(10, []byte{1}, host, []byte{1, 1, 'c', 3, 1, 'u', 0, 2, '{', '}'})},
		{"a number longer than need be", body(9, []byte{0x81, 0x00})},
		{"a number of 65 bits", body(9, bytes.Repeat([]byte{0xff}, 9), []byte{0x02})},
		{"a number of 11 bytes", body(9, bytes.Repeat([]byte{0xff}, 10), []byte{0x01})},
		{"an unknown flag of a heartbeat", body(1, []byte{1, 1, 1}, make([]byte, 8), []byte{4})},
		{"a host in upper case", body(8, []byte{1, 4}, []byte("HOST"), []byte{0})},
		{"a host with a port", body(8, []byte{1, 6}, []byte("host:1"), []byte{0})},
		{"a host that is not ASCII", body(8, []byte{1, 3}, []byte("hö"), []byte{0})},
		{"a host with a NUL", body(8, []byte{1, 2}, []byte("a\x00"), []byte{0})},
		{"an address not in its short form", body(8, []byte{1, 9}, []byte("0:0::0000"), []byte{0})},
		{"an unknown flag of a departure", body(7, host, []byte{1, 'c', 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 'u', 2})},
		{"a text longer than the payload", body(7, host, []byte{100, 'c'})},
		{"times of no user", body(6, []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0x41, 1, 'c', 0, 0, 0})},
		{"a time of a detail that is none", body(17, host, []byte{0, 1, 1, 'u', 1, 0})},
		{"an unknown flag of a detail", body(17, host, []byte{0, 1, 1, 'u', 16})},
		{"an unknown flag of details", body(17, host, []byte{2, 0})},
		{"bytes behind the message", body(2, []byte{0})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, m, err := NewCodec("").Decode(subject, tt.body); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

// A few bytes can claim a list of any length. Memory is taken for what the payload has room for.
func TestDecodeTakesNoMemoryForWhatIsNotThere(t *testing.T) {
	claim := binary.AppendUvarint(nil, 1<<40)
	host := append([]byte{18}, "portal.example.com"...)
	reply := []byte{1, 0, 0, 0, 0, 0}
	small := map[string][]byte{
		"sites":            body(4, make([]byte, 8), []byte{0, 1}, claim),
		"sets":             body(4, make([]byte, 8), []byte{0, 1, 1}, claim),
		"patterns":         body(4, make([]byte, 8), []byte{0, 1, 1, 1}, claim),
		"a pattern":        body(4, make([]byte, 8), []byte{0, 1, 1, 1, 1}, claim),
		"hashes":           body(6, reply, claim),
		"members":          body(6, reply, []byte{0}, claim),
		"listings":         body(6, reply, []byte{0, 0}, claim),
		"users":            body(6, reply, []byte{0, 0, 1, 1, 1, 'c', 0}, claim),
		"users with times": body(6, reply, []byte{0, 0, 1, 0x41, 1, 'c', 0}, claim),
		"connections":      body(6, reply, []byte{0, 0, 0}, claim),
		"channels":         body(6, reply, []byte{0, 0, 0, 1, 0, 0, 0, 0}, claim),
		"joined":           body(7, host, []byte{1, 'c', 0, 1, 1, 1, 0, 0, 0}, claim),
		"left":             body(7, host, []byte{1, 'c', 0, 1, 1, 1, 0, 0, 0, 0}, claim),
		"checked":          body(8, []byte{1}, host, claim),
		"known users":      body(17, host, []byte{0}, claim),
		"sent to":          body(10, []byte{1}, host, claim),
		"a bundle":         body(35, claim),
		"a message":        body(10, []byte{1}, host, []byte{1, 1, 'c', 0}, claim),
		"a name of a pod":  append([]byte{Version}, claim...),
	}
	for name, payload := range small {
		t.Run(name, func(t *testing.T) {
			if got := decodedBytes(t, payload); got > 2<<10 {
				t.Errorf("%d bytes of payload take %d bytes of memory", len(payload), got)
			}
		})
	}

	// The most that a payload can have made: entries of the fewest bytes.
	full := func(head []byte) []byte {
		free := MaxPayload - len(head) - 3
		return append(binary.AppendUvarint(head, uint64(free)), make([]byte, free)...)
	}
	for name, payload := range map[string][]byte{
		"sites": full(body(4, make([]byte, 8), []byte{0, 1})),
		"sets":  full(body(4, make([]byte, 8), []byte{0, 1, 1})),
		"texts": full(body(4, make([]byte, 8), []byte{0, 1, 1, 1})),
	} {
		t.Run("as many "+name+" as there can be", func(t *testing.T) {
			if got := decodedBytes(t, payload); got > 25*len(payload) {
				t.Errorf("%d bytes of payload take %d bytes of memory", len(payload), got)
			}
		})
	}
}

// decodedBytes returns how much memory decoding takes: the least of a few times, since the runtime
// takes some too.
func decodedBytes(t *testing.T, payload []byte) int {
	t.Helper()
	c := NewCodec("")
	least := math.MaxInt
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := c.Decode(subject, payload)
		runtime.ReadMemStats(&after)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		least = min(least, int(after.TotalAlloc-before.TotalAlloc))
	}
	return least
}
