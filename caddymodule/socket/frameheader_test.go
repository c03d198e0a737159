package socket

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

func TestTextIsReadByAnotherImplementation(t *testing.T) {
	p, client := connect(t, newRecorder())
	p.handler.mu.Lock()
	p.handler.limits.Queue = 8 << 20
	p.handler.mu.Unlock()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			want := bytes.Repeat([]byte("x"), size)
			p.Push(text(string(want)))
			kind, got, err := client.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if kind != websocket.TextMessage || !bytes.Equal(got, want) {
				t.Errorf("got a message of kind %d with %d bytes, want a text of %d", kind, len(got), size)
			}
		})
	}
}

func TestTextUsesTheShortestLength(t *testing.T) {
	for size, header := range map[int]string{
		0:       "\x81\x00",
		125:     "\x81\x7d",
		126:     "\x81\x7e\x00\x7e",
		0xffff:  "\x81\x7e\xff\xff",
		0x10000: "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
	} {
		got := string(text(strings.Repeat("x", size)))
		if !strings.HasPrefix(got, header) || len(got) != len(header)+size {
			t.Errorf("%d bytes: a frame of %d bytes that begins with %x, want %x", size, len(got), got[:2], header)
		}
	}
}

func TestCloseFrame(t *testing.T) {
	for _, test := range []struct {
		name   string
		code   int
		reason string
		want   string
	}{
		{"no status has no payload", CloseNoStatus, "gone", ""},
		{"no reason", CloseGoingAway, "", "\x03\xe9"},
		{"reason", CloseRestart, "later", "\x03\xf4later"},
		{"as long as fits", CloseSlow, strings.Repeat("x", 123), "\x10\x04" + strings.Repeat("x", 123)},
		{"too long", CloseSlow, strings.Repeat("x", 124), "\x10\x04" + strings.Repeat("x", 123)},
		{"cut before a character of two bytes", CloseSlow, strings.Repeat("x", 122) + "é", "\x10\x04" + strings.Repeat("x", 122)},
		{"cut before a character of four bytes", CloseSlow, strings.Repeat("x", 120) + "😀", "\x10\x04" + strings.Repeat("x", 120)},
		{"not UTF-8", CloseSlow, "ab\xff", "\x10\x04ab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := closeFrame(test.code, test.reason)
			if want := "\x88" + string(byte(len(test.want))) + test.want; string(got) != want {
				t.Errorf("got %x, want %x", got, want)
			}
			if len(got) > 2+maxControl || !utf8.Valid(got[min(len(got), 4):]) {
				t.Errorf("%x is not a close frame", got)
			}
		})
	}
}

func TestRestartReasonIsJSON(t *testing.T) {
	var got map[string]int64
	if err := json.Unmarshal([]byte(RestartReason(1500)), &got); err != nil || len(got) != 1 || got["after_ms"] != 1500 {
		t.Errorf("%s is %v, error %v", RestartReason(1500), got, err)
	}
}

func ExampleText() {
	frame := Text(func(b []byte) []byte { return append(b, "hi"...) })
	fmt.Printf("% x\n", frame)
	// Output: 81 02 68 69
}
