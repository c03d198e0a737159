package message

import (
	"testing"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

const (
	subject = "rollcall.all"
	secret  = "a secret of the deployment"
)

var web1 = Sender{
	DataCenter:  "us-east-1",
	Pod:         "web-1",
	Incarnation: Incarnation{Started: 1_700_000_000_123, Random: 0x0123456789abcdef},
	Seq:         300,
}

var portal = mustHost("portal.example.com")

func mustHost(name string) presence.HostName {
	h, err := presence.ParseHostName(name)
	if err != nil {
		panic(err)
	}
	return h
}

func member(id, email string, seen int64) presence.Member {
	return presence.Member{User: presence.User{ID: id, Email: email}, Seen: seen}
}

func shown(id string, s presence.Shown) presence.Member {
	return presence.Member{User: presence.User{ID: id}, Shown: &s}
}

// sample is a message of the table that the tests share.
type sample struct {
	name string
	m    Message
}

// samples has every type of message, and every field of it at least once.
func samples() []sample {
	return []sample{
		{"heartbeat", &Heartbeat{Seq: 300, Connections: 12_345, Hosts: 7, Sites: 0xfedcba9876543210}},
		{"heartbeat hello", &Heartbeat{Seq: 300, Hello: true}},
		{"heartbeat draining", &Heartbeat{Seq: 300, Draining: true}},
		{"heartbeat for a probe", &Heartbeat{Seq: 300, Nonce: 1 << 63}},
		{"heartbeat with sums", &Heartbeat{Seq: 300, Heard: 1, Missed: 1 << 63, Clock: 1_700_000_000_123}},
		{"probe", &Probe{Nonce: 1}},
		{"goodbye", &Goodbye{}},
		{"goodbye, back soon", &Goodbye{Clock: 1_700_000_000_123, Back: true}},
		{"runs wanted", &RunsWanted{}},
		{"descriptions wanted", &RunsWanted{IDs: []uint64{1, 1 << 63}}},
		{"no runs", &Runs{}},
		{"runs, a list", &Runs{List: true, Heard: 1, Missed: 1 << 63, IDs: []uint64{1, 0}, Runs: []Run{
			{DataCenter: "eu-west-1", Pod: "web-3", Incarnation: web1.Incarnation, Seq: 300, Sites: 7, Age: MaxAge, Standing: Missed},
		}}},
		{"runs, described", &Runs{Runs: []Run{
			{DataCenter: "eu-west-1", Pod: "web-3", Incarnation: web1.Incarnation, Standing: Heard},
			{DataCenter: "eu-west-1", Pod: "web-4", Seq: 1<<64 - 1, Standing: Ended},
			{DataCenter: "eu-west-1", Pod: "web-5", Seq: 1, Standing: Forgotten},
			{DataCenter: "eu-west-1", Pod: "web-6", Standing: Heard, Tenure: Tenure{Since: MaxAge, Left: 300, Back: 1}},
		}}},
		{"sites wanted", &SitesWanted{}},
		{"sites", &Sites{Sum: 42, Part: 1, Parts: 3, Sites: []Site{
			{}, {Sets: [][]string{{"*.example.com", "example.com"}, nil, {"münchen.example"}}, Events: true},
		}}},
		{"no sites", &Sites{Sum: 42, Parts: 1}},
		{"query count", &Query{ID: 9, Kind: KindCount, Host: portal, Seed: 0x1122334455667788}},
		{"query count, whole", &Query{ID: 9, Kind: KindCount, Host: portal, Seed: 1, Whole: true}},
		{"query count, the next part", &Query{ID: 9, Try: 1, Kind: KindCount, Host: portal, Seed: 1, Whole: true, From: 1<<64 - 1}},
		{"query members raw", &Query{ID: 10, Kind: KindMembers, Host: portal, Raw: true}},
		{"query users", &Query{ID: 11, Kind: KindUsers, Host: mustHost("2001:db8::1"), Channel: "tab|AAAAAAAAAAAAAAAAAAAAAA"}},
		{"query explain", &Query{ID: 12, Kind: KindExplain, Host: mustHost("xn--mnchen-3ya.example"), User: "u-1"}},
		{"query again", &Query{ID: 9, Try: 2, Kind: KindCount, Host: portal, Seed: 0x1122334455667788}},
		{"query ping", &Query{ID: 13, Kind: KindPing}},
		{"query page", &Query{ID: 15, Kind: KindUsers, Host: portal, Page: presence.Page{Prefix: "ä", After: "äb", Limit: presence.MaxPage}}},
		{"query last page", &Query{ID: 15, Kind: KindUsers, Host: portal, Page: presence.Page{After: "tab|AAAAAAAAAAAAAAAAAAAAAA"}}},
		{"query names", &Query{ID: 14, Kind: KindNames, Host: portal}},
		{"query online", &Query{ID: 16, Kind: KindOnline, Host: portal, Call: &Call{Users: []string{"u-1", "zwölf"}}}},
		{"query disconnect", &Query{ID: 17, Kind: KindDisconnect, Host: portal, Call: &Call{
			Conns: []presence.ID{{15: 1}, {0: 1}}, Reconnect: true, Reason: "moved, please come back",
		}}},
		{"query disconnect who is signed in", &Query{ID: 17, Kind: KindDisconnect, Host: portal, Call: &Call{Users: []string{"u-1"}, SignedIn: true}}},
		{"query disconnect members, too", &Query{ID: 17, Kind: KindDisconnect, Host: portal, Call: &Call{Users: []string{"u-1"}, Members: true}}},
		{"query disconnect a channel", &Query{ID: 17, Try: 1, Kind: KindDisconnect, Host: portal, Channel: "lobby", Call: &Call{}}},
		{"query leave", &Query{ID: 18, Kind: KindLeave, Host: portal, Call: &Call{Users: []string{"u-1"}, Channels: []string{"lobby", "ä"}}}},
		{"query last event", &Query{ID: 19, Kind: KindLast, Host: portal, Channel: "private-cache-x"}},
		{"reply last event", &Reply{ID: 19, Last: true, Event: &presence.LastEvent{
			Keeping: presence.Keeping{Stamp: 1 << 63, TTL: presence.MaxCacheTTL}, Raw: true, Body: []byte(`{"event":"e","data":"{}"}`),
		}}},
		{"reply last event, soon gone", &Reply{ID: 19, Try: 1, Last: true, Event: &presence.LastEvent{
			Keeping: presence.Keeping{Stamp: 1, TTL: time.Millisecond}, Body: []byte("{}"),
		}}},
		{"query hosts", &Query{ID: 20, Kind: KindHosts}},
		{"query one host", &Query{ID: 20, Kind: KindHosts, Host: portal}},
		{"reply hosts", &Reply{ID: 20, Last: true, Hosts: []HostCount{
			{Host: portal, Anonymous: 1, LoggedIn: 300, Users: 2, Channels: 3, Hidden: 1}, {Host: mustHost("2001:db8::1")},
		}}},
		{"query listeners", &Query{ID: 21, Kind: KindListeners, Host: portal, Channel: "lobby", User: "u-1", Page: presence.Page{Limit: 100}}},
		{"query all listeners", &Query{ID: 21, Kind: KindListeners, Host: portal}},
		{"reply listeners", &Reply{ID: 21, Last: true, Channels: []presence.Listing{{Channel: "lobby", Kind: presence.Authenticated, Count: 2}}, Listeners: []Listener{
			{Conn: presence.ID{15: 1}, User: "u-1", Email: "one@example.com", Since: 1_700_000_000_000, LastSign: 1_700_000_001_000},
			{Conn: presence.ID{0: 1}, User: "zwölf"},
		}}},
		{"send of an event to keep", &Send{
			Host: portal, Channels: []string{"cache-x"}, Message: []byte("{}"),
			From: presence.Source{Backend: true, Keep: presence.Keeping{Stamp: 1 << 60, TTL: time.Second}},
		}},
		{"bundle", &Bundle{[]Message{
			&Query{ID: 9, Kind: KindCount, Host: portal, Seed: 0x1122334455667788},
			&Query{ID: 16, Kind: KindOnline, Host: portal, Call: &Call{Users: []string{"u-1"}}},
			&Reply{ID: 9, Last: true, Count: Count{Anonymous: 1}},
			&Reply{ID: 19, Last: true, Event: &presence.LastEvent{Keeping: presence.Keeping{Stamp: 1, TTL: time.Millisecond}, Body: []byte("{}")}},
		}}},
		{"bundle of replies to operators", &Bundle{[]Message{
			&Reply{ID: 20, Last: true, Hosts: []HostCount{{Host: portal, Anonymous: 1}}},
			&Reply{ID: 21, Last: true, Listeners: []Listener{{Conn: presence.ID{15: 1}, User: "u-1"}}},
		}}},
		{"reply not served", &Reply{ID: 9, Last: true, NotServed: true}},
		{"reply to a query that was repeated", &Reply{ID: 9, Try: 128, Last: true, Count: Count{Anonymous: 1}}},
		{"reply count", &Reply{ID: 9, Last: true, Count: Count{Anonymous: 1, LoggedIn: 300, Users: 2, Hashes: []uint64{1, 1 << 63}}}},
		{"reply count, too long to be sent unasked", &Reply{ID: 9, Last: true, Unlisted: true, Count: Count{LoggedIn: 70_000, Users: 65_000}}},
		{"reply count, and there is more", &Reply{ID: 9, Last: true, More: true, Count: Count{Users: 70_000, Hashes: []uint64{0, 1<<64 - 1}}}},
		{"reply members", &Reply{ID: 10, Part: 128, Count: Count{LoggedIn: 2, Users: 2}, Members: []presence.Member{
			member("u-1", "one@example.com", 1_700_000_000_456), member("zwölf", "", 0), member("old", "o@example.com", -1),
		}}},
		{"reply users", &Reply{ID: 11, Last: true, Channels: []presence.Listing{
			{Channel: "lobby", Kind: presence.Authenticated, Users: []presence.User{{ID: "u-1", Email: "one@example.com"}, {ID: "u-2"}}},
			{Channel: "lobby", Kind: presence.Authenticated, Users: []presence.User{{ID: "u-3"}, {ID: "u-4", Email: "e"}}, Seen: []int64{0, 1_700_000_000_456}},
			{Channel: "vip", Kind: presence.Authenticated, CountOnly: true, Count: 200},
			{Channel: "private-vip", Kind: presence.Authenticated, CountOnly: true, Userless: 128, Users: []presence.User{{ID: "u-1"}}},
			{Channel: "anonymous-1", Kind: presence.Anonymous, Count: 3},
			{Channel: "tab|AAAAAAAAAAAAAAAAAAAAAA", Kind: presence.Private, Count: 1},
		}}},
		{"query members with info", &Query{ID: 10, Kind: KindMembers, Host: portal, Info: true}},
		{"reply members with info", &Reply{ID: 10, Last: true, Members: []presence.Member{
			member("u-1", "one@example.com", 1_700_000_000_456),
			{User: presence.User{ID: "u-2", Info: `{"name":"Two"}`}, InfoTime: 1_700_000_000_456, StatusTime: 1},
		}}},
		{"reply users with info", &Reply{ID: 11, Last: true, Channels: []presence.Listing{
			{
				Channel: "lobby", Kind: presence.Authenticated, Seen: []int64{0, 1_700_000_000_456},
				Users:   []presence.User{{ID: "u-3"}, {ID: "u-4", Email: "e", Info: `{"name":"Four"}`, Status: `{"away":true}`}},
				Details: []presence.DetailTimes{{}, {Info: 1_700_000_000_456, Status: 1_700_000_000_457}},
			},
			{
				Channel: "tab|AAAAAAAAAAAAAAAAAAAAAA", Kind: presence.Private, Users: []presence.User{{ID: "u-4", Status: "{}"}},
				Details: []presence.DetailTimes{{Status: -1}},
			},
			{
				Channel: "presence-lobby", Kind: presence.Authenticated, Users: []presence.User{{ID: "u-5", Info: "true"}},
				Details: []presence.DetailTimes{{Info: 1, Own: true}},
			},
		}}},
		{"reply explain", &Reply{ID: 12, Last: true, Conns: []Connection{
			{ID: "AAAAAAAAAAAAAAAAAAAAAA", Email: "one@example.com", Since: 1_700_000_000_000, LastSign: 1_700_000_001_000, Channels: []string{"lobby", "ä"}},
			{ID: "BBBBBBBBBBBBBBBBBBBBBA"},
		}}},
		{"delta", &Delta{Host: portal, Channel: "lobby", Parts: 1, Delta: presence.Delta{
			Clock: 1001, Base: 1000, Joined: []presence.Member{member("u-1", "one@example.com", 1_700_000_000_456)},
			Left: []presence.Departure{{ID: "u-2"}, {ID: "u-3", Lost: true}}, Conns: 200, Lost: 1,
		}}},
		{"delta of users that a plugin shows", &Delta{Host: portal, Channel: "lobby", Parts: 1, Delta: presence.Delta{
			Clock: 1001, Conns: 4, Joined: []presence.Member{
				member("u-1", "one@example.com", 1_700_000_000_456), shown("u-2", presence.Shown{Time: -1}), member("u-3", "", 0),
				shown("u-4", presence.Shown{ID: "z\"", Record: `{"id":"z\"","badge":1}`, Sender: `{"id":"z\""}`, Time: 1_700_000_000_456}),
			},
		}}},
		{"delta of users with info and status", &Delta{Host: portal, Channel: "lobby", Parts: 1, Delta: presence.Delta{
			Clock: 1001, Conns: 3, Joined: []presence.Member{
				{User: presence.User{ID: "u-1", Info: `{"name":"One"}`, Status: `{"away":true}`}, InfoTime: 1_700_000_000_456, StatusTime: -1},
				member("u-2", "", 0),
				{User: presence.User{ID: "u-3"}, StatusTime: 1_700_000_000_456},
			},
		}}},
		{"delta of users that memberships describe", &Delta{Host: portal, Channel: "presence-lobby", Parts: 1, Delta: presence.Delta{
			Clock: 1001, Conns: 4, Userless: 2, Joined: []presence.Member{
				{User: presence.User{ID: "u-1", Info: `[1, "zwölf"]`}, InfoTime: 1_700_000_000_456, Own: true},
				{User: presence.User{ID: "u-2", Status: `{"away":true}`}, InfoTime: -1, StatusTime: 1, Own: true, Shown: &presence.Shown{Time: 1}},
			},
		}}},
		{"delta after another", &Delta{Host: portal, Channel: "lobby", Parts: 1, Step: 300, Delta: presence.Delta{Clock: 1300, Base: 900}}},
		{"delta full", &Delta{Host: portal, Channel: "lobby", Part: 1, Parts: 256, Delta: presence.Delta{
			Clock: 1002, Joined: []presence.Member{member("u-1", "", 0)}, Conns: 1,
		}}},
		{"delta empty", &Delta{Host: mustHost("192.0.2.1"), Channel: "a b", Parts: 1, Delta: presence.Delta{Clock: 5}}},
		{"check", &Check{ID: 77, Host: portal, Channels: []CheckChannel{{Channel: "lobby", Clock: 1001}, {Channel: "new"}}}},
		{"check nothing", &Check{ID: 78, Host: portal}},
		{"check done", &CheckDone{ID: 1<<64 - 1, Clock: 1002, Follows: 300, Shards: []ShardClock{{0, 1001}, {63, 0}}, Answers: []Answer{{0, 1}, {300, 1 << 60}}}},
		{"check of nothing done", &CheckDone{ID: 1}},
		{"sum", &ShardSum{AsOf: 1002, Follows: 300, Sum: 0xfedcba9876543210}},
		{"sums of hosts", &HostSums{After: "a.example", Last: true, Hosts: []HostSum{{portal, 1}, {mustHost("www.example.com"), 1 << 63}}}},
		{"sums of no hosts", &HostSums{Last: true}},
		{"shards of hosts", &HostShards{Hosts: []Shards{{Host: portal, Clocks: []ShardClock{{1, 300}, {63, 1}}}, {Host: mustHost("192.0.2.1")}}}},
		{"unfollowed", &Unfollow{Hosts: []HostSet{{portal, 1<<63 | 1}}}},
		{"send", &Send{
			Host: portal, Channels: []string{"lobby", "ä", "tab|AAAAAAAAAAAAAAAAAAAAAA"},
			From: presence.Source{User: &presence.User{ID: "u-1", Email: "one@example.com"}}, Message: []byte(`{"text": "hë\"}"}`),
		}},
		{"send of a user that a plugin shows", &Send{
			Host: mustHost("192.0.2.1"), Channels: []string{"lobby"}, Message: []byte("{}"),
			From: presence.Source{User: &presence.User{ID: "u-1"}, Shown: &presence.Shown{Sender: `{"id":"z"}`}},
		}},
		{"send of a user that a plugin hides", &Send{
			Host: mustHost("192.0.2.1"), Channels: []string{"lobby"}, Message: []byte("{}"),
			From: presence.Source{User: &presence.User{ID: "u-1"}, Shown: &presence.Shown{}},
		}},
		{"send of the backend", &Send{
			Host: mustHost("192.0.2.1"), Channels: []string{"lobby"}, From: presence.Source{Backend: true}, Message: []byte("{}"),
		}},
		{"send to users", &Send{
			Host: portal, Users: []string{"u-1", "zwölf"}, From: presence.Source{Backend: true}, Message: []byte("{}"),
		}},
		{"send to users and channels, except for one, and once", &Send{
			Host: portal, Channels: []string{"lobby"}, Users: []string{"u-1"}, From: presence.Source{Backend: true}, Message: []byte("{}"),
			Except: presence.ID{15: 1}, Key: presence.MessageKey{0: 1},
		}},
		{"send of what was published", &Send{
			Host: mustHost("192.0.2.1"), Channels: []string{"lobby"}, Message: []byte(`{"event":"client-a","data":"1"}`),
			From: presence.Source{User: &presence.User{ID: "u-1"}, Raw: true},
		}},
		{"send to who is signed in", &Send{
			Host: portal, Users: []string{"u-1"}, From: presence.Source{Backend: true, Raw: true, To: "u-1"}, Message: []byte("{}"),
		}},
		{"send once", &Send{
			Host: portal, Channels: []string{"lobby"}, From: presence.Source{Backend: true}, Message: []byte("{}"), Key: presence.MessageKey{15: 1},
		}},
		{"send of an anonymous connection", &Send{Host: mustHost("192.0.2.1"), Channels: []string{"lobby"}, Message: []byte("{}")}},
		{"details", &Details{Host: portal, Users: []presence.Detail{
			{ID: "u-1"},
			{ID: "u-2", InfoTime: 1_700_000_000_456, StatusTime: -1},
			{ID: "zwölf", StatusTime: 1_700_000_000_456, Status: `{"away":true}`, With: presence.FieldStatus},
			{
				ID: "u-4", Info: `{"name":"Four"}`, InfoTime: 1_700_000_000_456, StatusTime: 1,
				With: presence.FieldInfo | presence.FieldStatus,
			},
		}}},
		{"hello", &Details{Host: portal, Users: []presence.Detail{{ID: "u-1"}}, Hello: true}},
		{"answer to a hello", &Details{Host: mustHost("192.0.2.1")}},
		{"assignments", &Assignments{ID: 300, Host: portal, Records: []assignment.Record{
			{Host: portal, User: "u-1", Channel: "lobby", Mode: assignment.Listen, Version: assignment.Version{Clock: 1_700_000_000_456 << 16, Node: 1 << 63}},
			{Host: portal, User: "zwölf", Channel: "ä b", Version: assignment.Version{Clock: assignment.MaxClock}},
		}}},
		{"assignments of nobody", &Assignments{Host: mustHost("192.0.2.1")}},
		{"assignments taken", &AssignmentsTaken{ID: 300}},
		{"end of an answer", &AssignmentsTaken{ID: 300, Parts: 2, More: true, Whole: true, Outside: assignment.Shards}},
		{"a part of an answer", &Assignments{ID: 300, Answer: true, Host: portal}},
		{"assignments taken, and later ones", &AssignmentsTaken{ID: 300, Held: assignment.Held{
			Later: assignment.Version{Clock: 1 << 60, Node: 7}, Ended: true,
		}}},
		{"removals", &Assignments{ID: 1, Host: portal, Records: []assignment.Record{
			{Host: portal, User: "u-1", Version: assignment.Version{Clock: 1 << 60, Node: 7}},
			{Host: portal, User: "u-1", Channel: "lobby", Blind: true, Version: assignment.Version{Clock: 1 << 60, Node: 7}},
		}}},
		{"revocations and epochs", &Assignments{ID: 1, Host: portal, Records: []assignment.Record{
			{Host: portal, User: "u-1", Kind: assignment.KindRevocation, Version: assignment.Version{Clock: 1 << 60, Node: 7}, Value: 1_700_000_000, Until: 1_700_000_086_400_000},
			{Host: portal, User: "u-1", Channel: "lobby", Mode: assignment.Receive, Version: assignment.Version{Clock: 1 << 60, Node: 7}},
			{Host: portal, User: "7", Kind: assignment.KindEpoch, Version: assignment.Version{Clock: 1 << 60, Node: 7}, Value: 1<<53 - 1, Until: 1},
		}}},
		{"events asked for", &EventsAsk{Session: 300, Open: true, Asks: []EventsQuestion{
			{ID: 1, Host: portal, Shard: 7, Users: true}, {ID: 1<<64 - 1, Host: mustHost("2001:db8::1")},
		}, Ends: []uint64{1, 300}}},
		{"events checked", &EventsAsk{Session: 300}},
		{"events", &EventsPart{Session: 300, Stream: 1 << 63, Number: 128, Items: []EventsItem{
			{ID: 1, TapPart: presence.TapPart{First: true, Changes: []presence.TapChange{
				{Channel: "lobby", Class: presence.Class{Kind: presence.Authenticated, Hidden: true, CountOnly: true}, Conns: 300, Userless: 200, Full: true, More: true, Came: []presence.Member{
					member("u-1", "one@example.com", 1_700_000_000_456), {User: presence.User{ID: "u-2", Info: `{"name":"Two"}`}, InfoTime: -1},
				}},
				{Channel: "presence-lobby", Class: presence.Class{Kind: presence.Authenticated}, Conns: 1, Came: []presence.Member{
					{User: presence.User{ID: "u-6", Info: `"six"`}, InfoTime: 1, Own: true},
				}},
				{Channel: "ä", Lost: true, Left: []presence.Departure{{ID: "u-3", Lost: true}, {ID: "u-4"}}},
				{Class: presence.Class{Kind: presence.Authenticated}, Came: []presence.Member{member("u-5", "", 0)}},
			}}},
			{ID: 1, TapPart: presence.TapPart{Whole: true, Changes: []presence.TapChange{
				{Channel: "anonymous-1", Class: presence.Class{Kind: presence.Anonymous}, Conns: 1},
			}}},
			{ID: 2},
		}}},
		{"events taken", &EventsTaken{Session: 300, Stream: 1 << 63, Number: 128}},
		{"events lost", &EventsLost{Session: 300}},
		{"hosts for events", &EventsHosts{Hosts: []presence.HostName{portal, mustHost("192.0.2.1")}}},
		{"assignment total", &AssignmentTotal{Total: 0xfedcba9876543210, Scope: 0x0123456789abcdef, Outside: true}},
		{"wanted assignment total", &AssignmentTotal{Total: 1, ID: 300, Whole: true, Wanted: true}},
		{"assignment check", &AssignmentCheck{ID: 7, Scope: 1 << 63, Outside: 255, Sums: assignment.Sums{0: 1, 255: 1 << 63}}},
	}
}

func mustAppend(t testing.TB, c *Codec, m Message) []byte {
	t.Helper()
	payload, err := c.Append(nil, subject, web1, m)
	if err != nil {
		t.Fatalf("appending %T: %v", m, err)
	}
	return payload
}

func mustDecode(t testing.TB, c *Codec, payload []byte) Message {
	t.Helper()
	from, m, err := c.Decode(subject, payload)
	if err != nil {
		t.Fatalf("decoding %d bytes: %v", len(payload), err)
	}
	if from != web1 {
		t.Fatalf("the sender is %+v", from)
	}
	return m
}
