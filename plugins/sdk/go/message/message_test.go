package message

import (
	"encoding/binary"
	"strings"
	"testing"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
)

// encode encodes an input as the contract says.
func encode(flags byte, channel, user, email, connection, message string) []byte {
	r := []byte{1, 1, flags, 0}
	for _, text := range []string{"h", channel, user, email} {
		r = binary.LittleEndian.AppendUint16(r, uint16(len(text)))
	}
	var extension []byte
	if connection != "" {
		extension = append([]byte{9, 0, 1, 0, 'x', 1, 0, byte(len(connection)), 0}, connection...)
	}
	r = binary.LittleEndian.AppendUint32(r, uint32(len(extension)))
	r = append(append(r, "h"+channel+user+email...), extension...)
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(r))), r...), message...)
}

func TestHandle(t *testing.T) {
	t.Cleanup(func() { handler = nil })
	input := encode(0, "sales", "ada", "a@b", "CONN", `{"text":"\u0068i","n":[1]}`)
	if _, err := call(input); err == nil {
		t.Error("no error without a handler")
	}
	var got Message
	Handle(func(m *Message) Result {
		got = *m
		return m.WithText("text", m.Text("text")+"!")
	})
	r, err := call(input)
	want := rollcall.Request{Host: "h", Channel: "sales", Site: rollcall.Authenticated, UserID: "ada", Email: "a@b"}
	if err != nil || got.Request != want || got.Backend || got.Connection != "CONN" || string(r.JSON()) != `{"text":"hi!","n":[1]}` {
		t.Errorf("got %+v, %s, %v", got, r.JSON(), err)
	}
	if _, err := call(encode(2, "sales", "", "", "", `{}`)); err != nil || !got.Backend || got.Anonymous || got.Connection != "" {
		t.Errorf("backend: got %+v, %v", got, err)
	}
	if _, err := call(encode(1, "lobby", "", "", "C", `{}`)); err != nil || got.Backend || !got.Anonymous {
		t.Errorf("anonymous: got %+v, %v", got, err)
	}
	for n := range len(input) - len(`{"text":"\u0068i","n":[1]}`) {
		if _, err := call(input[:n]); err == nil {
			t.Errorf("%d bytes are read", n)
		}
	}
	deep := encode(0, "a", "b", "", "C", `{"text":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+"}")
	if r, err := call(deep); err == nil {
		t.Errorf("a message that cannot be read is answered with %+v", r)
	}
	Handle(func(*Message) Result { return Send })
	if r, err := call(deep); err != nil || r.Refused() || r.JSON() != nil {
		t.Errorf("a message that nobody reads: %+v, %v", r, err)
	}
}

func TestNew(t *testing.T) {
	m := New("sales", "ada", `{"text":"a"}`)
	if m.Text("text") != "a" || m.Channel != "sales" || m.UserID != "ada" || m.Anonymous || string(m.JSON()) != `{"text":"a"}` {
		t.Errorf("got %+v", m)
	}
	if !New("lobby", "", "{}").Anonymous {
		t.Error("nobody is a user")
	}
}

func FuzzCall(f *testing.F) {
	f.Add(encode(0, "sales", "ada", "a@b", "CONN", `{"text":"hi"}`))
	f.Add(encode(2, "sales", "", "", "", `{}`))
	Handle(func(m *Message) Result { return m.WithText("text", m.Text("text")) })
	f.Fuzz(func(t *testing.T, input []byte) {
		r, err := call(input)
		if err != nil {
			return
		}
		if _, err := rollcall.ParseJSON(r.JSON()); err != nil {
			t.Errorf("%q gives %q: %v", input, r.JSON(), err)
		}
	})
}
