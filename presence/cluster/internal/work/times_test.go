package work

import (
	"testing"
	"time"
)

func TestEarliest(t *testing.T) {
	none, one, two := time.Time{}, time.Unix(1, 0), time.Unix(2, 0)
	for _, tt := range []struct {
		name  string
		times []time.Time
		want  time.Time
	}{
		{"nothing", nil, none},
		{"no time", []time.Time{none, none}, none},
		{"in order", []time.Time{one, two}, one},
		{"in the other order", []time.Time{two, one}, one},
		{"after none", []time.Time{none, two, one}, one},
		{"before none", []time.Time{one, none}, one},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Earliest(tt.times...); !got.Equal(tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
