package replication

import (
	"testing"

	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/link"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

func TestIntakeHasOneEntryForEachChannelThatChanged(t *testing.T) {
	var in intake
	p := testPlace(t)
	for range 1000 {
		in.noteChange(place{p.host, "b"})
		in.noteChange(place{p.host, "a"})
	}
	if got := in.swapChanges(); len(got) != 2 || got[0].channel != "b" || got[1].channel != "a" {
		t.Errorf("got %v", got)
	}
	in.noteChange(place{p.host, "b"})
	if in.changes() != 1 {
		t.Error("a change after the swap is lost")
	}
}

func TestIntakeKeepsTheLastStateOfAWatchAndOfAPod(t *testing.T) {
	var in intake
	p, pod := testPlace(t), link.Peer{DC: "dc", Pod: "pod"}
	for range 1000 {
		in.noteWatch(p, true)
		in.noteWatch(p, false)
		in.notePeer(pod, false)
		in.notePeer(pod, true)
	}
	n := in.swap()
	if len(n.watches) != 1 || n.watches[p] || len(n.peers) != 1 || !n.peers[pod] {
		t.Errorf("got %+v", n)
	}
}

func TestIntakeDropsMessagesOverTheLimitAndChecksThePod(t *testing.T) {
	pod, other := link.Peer{DC: "dc", Pod: "pod"}, link.Peer{DC: "dc", Pod: "other"}
	large := largeDelta(testPlace(t), 1, 20_000)
	for name, tt := range map[string]struct {
		m    message.Message
		most int
	}{
		"many":  {&message.CheckDone{}, maxWaiting},
		"large": {large, maxWaitingBytes / memorySize(large)},
	} {
		t.Run(name, func(t *testing.T) {
			var in intake
			for i := range tt.most {
				if in.noteMessage(other, tt.m, false); in.notes.lagging != nil {
					t.Fatalf("dropped after %d", i)
				}
			}
			in.noteMessage(pod, tt.m, false)
			n := in.swap()
			if len(n.messages) != tt.most || !n.lagging[pod] || n.lagging[other] {
				t.Errorf("%d messages, lagging: %v", len(n.messages), n.lagging)
			}
			if in.noteMessage(pod, tt.m, false); len(in.swap().messages) != 1 {
				t.Error("there is no room after the swap")
			}
		})
	}
}
