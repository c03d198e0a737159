package wire

import (
	"testing"

	"github.com/rollcall-gateway/rollcall/presence"
)

func TestListing(t *testing.T) {
	var e Encoder
	var id presence.ID
	copy(id[:], "0123456789abcdef")
	ann, odd := presence.User{ID: "USER_1", Email: "a@example.com"}, presence.User{ID: "\""}
	for _, test := range []struct {
		name string
		got  []byte
		want string
	}{
		{"users", e.AppendUser(e.AppendUser(nil, &ann, true), &odd, false), `{"id":"USER_1","email":"a@example.com"},{"id":"\"","email":""}`},
		{
			"private channels", e.AppendPrivate(e.AppendPrivate(nil, id, &ann, true), id, nil, false),
			`"tab|MDEyMzQ1Njc4OWFiY2RlZg":{"id":"USER_1","email":"a@example.com"},"tab|MDEyMzQ1Njc4OWFiY2RlZg":1`,
		},
		{"the first of a piece", e.AppendPrivate([]byte("{"), id, nil, true), `{"tab|MDEyMzQ1Njc4OWFiY2RlZg":1`},
	} {
		if string(test.got) != test.want {
			t.Errorf("%s: got %s, want %s", test.name, test.got, test.want)
		}
	}
}

// Listings are encoded with the lock of a host held, so encoding must be cheap.
func TestListingDoesNotAllocate(t *testing.T) {
	var e presence.Encoder = Encoder{}
	user, id, b := presence.User{ID: "user1234", Email: "user1234@example.com"}, presence.ID{1, 2, 3}, make([]byte, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() {
		b = e.AppendUser(b[:0], &user, false)
		b = e.AppendPrivate(b, id, &user, false)
		b = e.AppendPrivate(b, id, nil, false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkListing(b *testing.B) {
	var e presence.Encoder = Encoder{}
	user, id := presence.User{ID: "user12345", Email: "user12345@example.com"}, presence.ID{1, 2, 3}
	for _, bb := range []struct {
		name string
		f    func(b []byte) []byte
	}{
		{"user", func(b []byte) []byte { return e.AppendUser(b, &user, false) }},
		{"private channel", func(b []byte) []byte { return e.AppendPrivate(b, id, &user, false) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			buf := bb.f(nil)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf = bb.f(buf[:0])
			}
		})
	}
}
