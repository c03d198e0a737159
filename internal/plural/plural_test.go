package plural

import "testing"

func TestOf(t *testing.T) {
	for want, got := range map[string]string{
		"0 users": Of(0, "user"), "1 user": Of(1, "user"), "2 users": Of(uint32(2), "user"), "-1 steps": Of(int64(-1), "step"),
		"1 body": Of(1, "body"), "12 bodies": Of(uint64(12), "body"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
