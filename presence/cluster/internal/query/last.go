package query

import (
	"context"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/internal/membership"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// maxAsking limits the questions of joins that are asked at the same time. Others wait: after a
// restart, many channels get their first connection at once, and pods drop queries beyond their
// limits.
const maxAsking = 64

// LastEvent returns the last event of a cache channel, if a pod keeps one.
func (k Asker) LastEvent(ctx context.Context, host presence.HostName, channel string) (presence.LastEvent, bool, Truth) {
	a := k.queries.ask(ctx, lastKey(host, channel))
	if a.event == nil {
		return presence.LastEvent{}, false, a.truth
	}
	return *a.event, true, a.truth
}

func lastKey(host presence.HostName, channel string) queryKey {
	return queryKey{kind: message.KindLast, host: host, scope: membership.ScopeAll, channel: channel}
}

// AskLast implements [presence.LastAsker]. The question shares no answer: an event that came after
// an earlier question may be in no answer, and not have been kept by this pod.
func (k *Queries) AskLast(host presence.HostName, channel string, id uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		go k.learnLast(host, channel, id, answer{}) // ends at once; the lock of the host is held here
		return
	}
	k.all.Go(func() {
		_, longest := k.members.Timeouts()
		timer := time.NewTimer(longest)
		defer timer.Stop()
		var a answer
		select {
		case k.asking <- struct{}{}:
			a = k.find(lastKey(host, channel), nil)
			<-k.asking
		case <-timer.C:
		case <-k.stop:
		}
		k.learnLast(host, channel, id, a)
	})
}

func (k *Queries) learnLast(host presence.HostName, channel string, id uint64, a answer) {
	var e presence.LastEvent
	if a.event != nil {
		e = *a.event
	}
	k.responder.registry.Pods().LearnLast(host, channel, id, e, a.event != nil, a.truth.Complete)
}

// mergeLast returns the latest event of several pods.
func mergeLast(replies []podReply) (a answer) {
	for _, r := range replies {
		if e := r.parts[0].Event; e != nil && (a.event == nil || e.Stamp > a.event.Stamp) {
			a.event = e
		}
	}
	return a
}
