package classify

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unsafe"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// buffer is a plugin's buffer: Rollcall writes into it, and rests of earlier requests stay there.
type buffer [512]uint64

// ask passes a request to the handler. It returns the request that the handler got, and its answer.
func (b *buffer) ask(request []byte) (got rollcall.Request, answer int64) {
	handler = func(r *rollcall.Request) rollcall.Decision {
		got = *r
		return rollcall.Denied
	}
	p := unsafe.Pointer(b)
	copy(unsafe.Slice((*byte)(p), len(b)*wordSize), request)
	return got, export(p, uint32(len(request)))
}

// encode encodes a request as the contract says.
func encode(site byte, list ...string) []byte {
	b := []byte{version, site, 0, 0}
	for _, text := range list {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	}
	b = append(b, make([]byte, header*wordSize-len(b))...)
	return append(b, strings.Join(list, "")...)
}

func TestExportOfAnyLength(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	var b buffer
	most := words * wordSize
	for _, lengths := range [][2]int{
		{0, 0}, {0, 1}, {1, 0}, {18, 15}, {0, most}, {most, 0}, {most / 2, most / 2}, {0, most + 1}, {most, 1}, {200, 2000},
	} {
		want := rollcall.Request{
			Host: strings.Repeat("h", lengths[0]), Channel: strings.Repeat("c", lengths[1]), Site: rollcall.Anonymous,
		}
		for range 3 {
			if got, answer := b.ask(encode(2, want.Host, want.Channel)); got != want || answer != 3 {
				t.Errorf("lengths %v: got %+v, answer %d", lengths, got, answer)
			}
		}
	}
}

func TestExportWithAUser(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	var b buffer
	b.ask(encode(1, "a", "lobby"))
	got, _ := b.ask(encode(1, "a", "vip", "u1", "ada@example.com"))
	if (got != rollcall.Request{Host: "a", Channel: "vip", Site: 1, UserID: "u1", Email: "ada@example.com"}) {
		t.Errorf("got %+v", got)
	}
	if got, _ = b.ask(encode(1, "a", "lobby")); (got != rollcall.Request{Host: "a", Channel: "lobby", Site: 1}) {
		t.Errorf("after that: got %+v", got)
	}
}

func TestExportKeepsTexts(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	var b buffer
	var got, want []string
	for i := range 3 * chunkSize / wordSize {
		host, channel := strings.Repeat(string(rune('a'+i%26)), i%40), strings.Repeat(string(rune('A'+i%26)), i%32)
		r, _ := b.ask(encode(1, host, channel))
		got, want = append(got, r.Host, r.Channel), append(want, host, channel)
	}
	clear(b[:])
	if !slices.Equal(got, want) {
		t.Error("a text is not what it was")
	}
}

func TestExportRefuses(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	whole := encode(1, "a.example", "vip")
	later := slices.Clone(whole)
	later[0] = version + 1
	missing := slices.Clone(whole)
	missing[8] = 2
	var b buffer
	b.ask(whole) // makes room for short requests, where a mistake would show
	for name, request := range map[string][]byte{
		"nothing":               nil,
		"half a header":         whole[:15],
		"a text that is cut":    whole[:len(whole)-1],
		"more than the lengths": append(slices.Clone(whole), 'x'),
		"another version":       later,
		"a user who is missing": missing,
	} {
		if _, answer := b.ask(request); answer != -1 {
			t.Errorf("%s: got %d", name, answer)
		}
	}
	b.ask(whole)
	handler, used = nil, chunkSize // no room, as before the first request
	if answer := export(unsafe.Pointer(&b), uint32(len(whole))); answer != -1 {
		t.Errorf("without a handler: got %d", answer)
	}
}

func TestExportSeldomAllocates(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	var b buffer
	request := encode(1, "portal.example.com", "anonymous-lobby")
	b.ask(request)
	handler = func(*rollcall.Request) rollcall.Decision { return rollcall.NoOpinion }
	if n := testing.AllocsPerRun(10*chunkSize, func() { export(unsafe.Pointer(&b), uint32(len(request))) }); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzExport(f *testing.F) {
	f.Add(encode(1, "a.example", "vip"))
	f.Add(encode(2, "a.example", "vip", "u1", "ada@example.com"))
	f.Add(encode(2, strings.Repeat("h", 64), "c"))
	var b buffer
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) > len(b)*wordSize {
			return
		}
		got, answer := b.ask(request)
		var want rollcall.Request
		if want.UnmarshalBinary(request) != nil {
			if answer != -1 {
				t.Errorf("answer %d", answer)
			}
			return
		}
		if got != want || answer != 3 {
			t.Errorf("got %+v, answer %d, want %+v", got, answer, want)
		}
	})
}
