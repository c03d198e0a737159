package arena

import (
	"strings"
	"testing"
)

func TestStringsStayWhatTheyWere(t *testing.T) {
	var a Arena
	var got, want []string
	for i := range 2 * blockSize / 10 {
		text := strings.Repeat(string(rune('a'+i%26)), i%(largest+20))
		b := []byte(text)
		got, want = append(got, a.String(b)), append(want, text)
		for j := range b {
			b[j] = '!'
		}
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("string %d is %q, want %q", i, got[i], want[i])
		}
	}
}

func TestStringsShareAllocations(t *testing.T) {
	var a Arena
	b := []byte("ada@example.com")
	if n := testing.AllocsPerRun(1000, func() { a.String(b) }); n >= 1 {
		t.Errorf("%v allocations a string", n)
	}
}
