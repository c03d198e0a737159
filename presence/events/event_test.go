package events

import "testing"

func TestTypesHaveTexts(t *testing.T) {
	for i := ChannelOccupied; i <= EpochComplete; i++ {
		if got, ok := ParseType(i.String()); !ok || got != i {
			t.Errorf("%v is read as %v, %v", i, got, ok)
		}
	}
	for _, s := range []string{"", "channel", "Type(0)"} {
		if got, ok := ParseType(s); ok || got != 0 {
			t.Errorf("%q is %v", s, got)
		}
	}
}
