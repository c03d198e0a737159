package rollcall

import (
	"encoding/binary"
	"testing"
)

// encode encodes a request as the contract says.
func encode(site byte, flags uint16, host, channel, user, email, extension string) []byte {
	b := []byte{1, site}
	b = binary.LittleEndian.AppendUint16(b, flags)
	for _, s := range []string{host, channel, user, email} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(extension)))
	return append(b, host+channel+user+email+extension...)
}

func TestRequestIsRead(t *testing.T) {
	tests := map[string]struct {
		input []byte
		want  Request
	}{
		"of classify": {
			encode(2, 0, "a.example", "lobby-1", "", "", ""),
			Request{Host: "a.example", Channel: "lobby-1", Site: Anonymous},
		},
		"of a user": {
			encode(1, 0, "a.example", "vip", "u1", "ada@example.com", ""),
			Request{Host: "a.example", Channel: "vip", Site: Authenticated, UserID: "u1", Email: "ada@example.com"},
		},
		"of an anonymous connection": {
			encode(2, 1, "a.example", "lobby", "", "", ""),
			Request{Host: "a.example", Channel: "lobby", Site: Anonymous, Anonymous: true},
		},
		"with an extension, which is skipped": {
			encode(1, 0, "a", "b", "c", "d", "\x01\x00\x02\x00xy"),
			Request{Host: "a", Channel: "b", Site: Authenticated, UserID: "c", Email: "d"},
		},
		"empty": {encode(1, 0, "", "", "", "", ""), Request{Site: Authenticated}},
	}
	var again Request // read into again and again
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Request
			if err := r.UnmarshalBinary(tt.input); err != nil || r != tt.want {
				t.Errorf("got %+v, %v, want %+v", r, err, tt.want)
			}
			if err := again.UnmarshalBinary(tt.input); err != nil || again != tt.want {
				t.Errorf("into one that was used: got %+v, %v, want %+v", again, err, tt.want)
			}
		})
	}
}

func TestRequestKeepsItsTexts(t *testing.T) {
	input := encode(1, 0, "a.example", "vip", "u1", "ada@example.com", "")
	var r Request
	if err := r.UnmarshalBinary(input); err != nil {
		t.Fatal(err)
	}
	channel := r.Channel
	clear(input[16:])
	if channel != "vip" || r.Email != "ada@example.com" {
		t.Errorf("the texts changed with the buffer: %q, %q", channel, r.Email)
	}
}

func TestRequestIsRefused(t *testing.T) {
	whole := encode(1, 0, "a.example", "vip", "u1", "ada@example.com", "")
	later := encode(1, 0, "a", "b", "", "", "")
	later[0] = 2
	tests := map[string][]byte{
		"nothing":                nil,
		"half a header":          whole[:15],
		"a text that is cut":     whole[:len(whole)-1],
		"more than the header":   append(encode(1, 0, "a", "b", "", "", ""), 'x'),
		"another version":        later,
		"an extension too large": append(encode(1, 0, "", "", "", "", "")[:12], 255, 255, 255, 255),
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			if err := new(Request).UnmarshalBinary(input); err == nil {
				t.Error("no error")
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(encode(1, 0, "a.example", "vip", "u1", "ada@example.com", ""))
	f.Add(encode(2, 1, "a.example", "lobby", "", "", "\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, input []byte) {
		var r Request
		if r.UnmarshalBinary(input) != nil {
			return
		}
		texts := r.Host + r.Channel + r.UserID + r.Email
		if got := string(input[16:][:len(texts)]); got != texts {
			t.Errorf("texts are %q, want %q", texts, got)
		}
	})
}

func TestDecisionBits(t *testing.T) {
	tests := map[Decision]uint16{
		NoOpinion: 0, Authenticated: 1, Anonymous: 2, Denied: 3,
		Anonymous.Hidden():                 0x102,
		NoOpinion.CountOnly():              0x200,
		Authenticated.Hidden().CountOnly(): 0x301,
		NoOpinion.NeedGrant():              0x400,
	}
	for d, want := range tests {
		if uint16(d) != want {
			t.Errorf("got %#x, want %#x", uint16(d), want)
		}
	}
}
