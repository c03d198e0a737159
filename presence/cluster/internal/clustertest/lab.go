// Package clustertest has what the tests of the cluster and of its rooms share: a network in memory
// ([Lab]), pods that do only what the test says ([Script]), and encoders and outboxes whose frames
// tests can read.
//
// It is for use within a testing/synctest bubble, with few exceptions.
package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster/message"
)

// Lab is a network without delay. Everything arrives in order.
type Lab struct {
	mu       sync.Mutex
	ports    []*Port
	recorded []Record // all published payloads
}

// Record is a published payload.
type Record struct {
	Subject string
	Payload []byte
}

// Port is the transport of one pod.
type Port struct {
	lab   *Lab
	queue chan delivery

	// lab.mu guards the fields below.
	subs []*subscription
	sent []Sent
	err  error         // result of Publish
	slow time.Duration // duration of the next Publish
	lose func(m message.Message) bool
}

type subscription struct {
	subject string
	handle  func(payload []byte)
}

type delivery struct {
	sub     *subscription
	payload []byte
}

// Sent is a sent message.
type Sent struct {
	At      time.Time
	Subject string
	Message message.Message
}

// Port adds a transport, which lasts until the test ends.
func (n *Lab) Port(t *testing.T) *Port {
	t.Helper()
	p := &Port{lab: n, queue: make(chan delivery, 1<<16)}
	n.mu.Lock()
	n.ports = append(n.ports, p)
	n.mu.Unlock()
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case d := <-p.queue:
				d.sub.handle(d.payload)
			}
		}
	}()
	t.Cleanup(func() { close(done) })
	return p
}

// Recorded returns all payloads that were published.
func (n *Lab) Recorded() []Record {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.recorded)
}

// Publish implements link.Transport.
func (p *Port) Publish(subject string, payload []byte) error {
	p.lab.mu.Lock()
	slow := p.slow
	p.slow = 0
	p.lab.mu.Unlock()
	time.Sleep(slow)
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	_, m, err := message.NewCodec("").Decode(subject, payload)
	messages := []message.Message{m}
	if b, ok := m.(*message.Bundle); ok {
		messages = b.Messages
	}
	if err == nil {
		for _, m := range messages {
			p.sent = append(p.sent, Sent{time.Now(), subject, m})
		}
	}
	p.lab.recorded = append(p.lab.recorded, Record{subject, slices.Clone(payload)})
	for _, to := range p.lab.ports {
		if to != p && to.lose != nil && err == nil && slices.ContainsFunc(messages, to.lose) {
			continue
		}
		for _, sub := range to.subs {
			if sub.subject == subject {
				to.queue <- delivery{sub, slices.Clone(payload)}
			}
		}
	}
	return nil
}

// Subscribe implements link.Transport.
func (p *Port) Subscribe(subject string, handle func(payload []byte)) (cancel func(), err error) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	sub := &subscription{subject, handle}
	p.subs = append(p.subs, sub)
	return func() {
		p.lab.mu.Lock()
		defer p.lab.mu.Unlock()
		p.subs = slices.DeleteFunc(p.subs, func(s *subscription) bool { return s == sub })
	}, nil
}

// Subjects returns the subjects that the port is subscribed to.
func (p *Port) Subjects() []string {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	subjects := make([]string, len(p.subs))
	for i, sub := range p.subs {
		subjects[i] = sub.subject
	}
	return subjects
}

// SetError sets the error of Publish from now on; nil ends it.
func (p *Port) SetError(err error) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	p.err = err
}

// SetSlow sets the duration of the next Publish.
func (p *Port) SetSlow(d time.Duration) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	p.slow = d
}

// Lose makes the network lose the messages of other ports to this one for which lost returns true,
// from now on; nil ends it. A bundle is lost with any message of it. It works without a secret
// only.
func (p *Port) Lose(lost func(m message.Message) bool) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	p.lose = lost
}

// Unsubscribe ends all subscriptions, as if the pod was killed.
func (p *Port) Unsubscribe() {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	p.subs = nil
}

// SentOf returns the messages of one type that the port has sent.
func SentOf[M message.Message](p *Port) (list []Sent) {
	p.lab.mu.Lock()
	defer p.lab.mu.Unlock()
	for _, s := range p.sent {
		if _, ok := s.Message.(M); ok {
			list = append(list, s)
		}
	}
	return list
}

// WantLog compares the number of log lines that contain all words, level included.
func WantLog(t *testing.T, logs *observer.ObservedLogs, want int, words ...string) {
	t.Helper()
	synctest.Wait()
	got := 0
next:
	for _, e := range logs.All() {
		line := fmt.Sprint(e.Level, " ", e.Message, " ", e.ContextMap())
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		got++
	}
	if got != want {
		t.Errorf("%d log lines with %q, want %d:\n%v", got, words, want, logs.All())
	}
}

// Site returns a site with sets of patterns.
func Site(sets ...[]string) message.Site { return message.Site{Sets: sets} }

// UsersText formats the IDs and addresses of users.
func UsersText(users []presence.User) string {
	list := make([]string, len(users))
	for i, u := range users {
		list[i] = fmt.Sprintf("{%s %s}", u.ID, u.Email)
	}
	return fmt.Sprint(list)
}
