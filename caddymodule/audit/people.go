package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// user is one of the users that come and go.
type user struct {
	*Audit
	id      string
	home    int // index of the pod
	channel string
}

// live lets the user come, join, send and leave, until the context ends. If a connection is lost,
// the user comes back on the next pod, as behind a load balancer.
func (u *user) live(ctx context.Context) {
	pod := u.home
	for ctx.Err() == nil {
		c, err := u.connect(ctx, pod, u.id, nil)
		if err != nil {
			if ctx.Err() == nil { // the end of the audit is no failure of the pod
				u.fared(pod, err)
			}
			pod = (pod + 1) % len(u.Pods)
			pause(ctx, u.about(u.Pace/2))
			continue
		}
		for range 3 {
			if err = u.visit(ctx, c, pod); err != nil || ctx.Err() != nil {
				break
			}
			pause(ctx, u.about(u.Pace))
		}
		c.close()
		if err != nil {
			pod = (pod + 1) % len(u.Pods)
		} else {
			pod = u.home
		}
		pause(ctx, u.about(u.Pace))
	}
}

// fared counts that a user joined a channel on a pod, or the error that prevented it. Without these
// counts, an audit whose users stay outside finds nothing, and looks like one that finds nothing
// wrong.
func (a *Audit) fared(pod int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	users := &a.pods[pod].counts.Users
	switch {
	case err == nil:
		users.Joined++
		return
	case errors.Is(err, errJoin):
		users.NotJoined++
	case errors.Is(err, errLogin):
		users.NotLoggedIn++
	default:
		users.NotConnected++
	}
	users.LastError = err.Error()
}

// about returns a random time from half of the longest on.
func (u *user) about(longest time.Duration) time.Duration {
	return longest/2 + rand.N(longest/2) //nolint:gosec // nothing has to be hard to guess
}

// visit joins the channel, sends some messages, and leaves it.
func (u *user) visit(ctx context.Context, c *client, pod int) error {
	m := member{u.channel, u.id}
	u.frames.changing(time.Now(), m)
	s := u.stays.begin(time.Now(), u.channel, pod, u.id, c.stay)
	if _, err := c.do(fmt.Sprintf(`"type":"join","channel":%q`, u.channel)); err != nil {
		u.fared(pod, fmt.Errorf("%w %s: %w", errJoin, u.channel, err))
		return u.lose(c, s, m, err)
	}
	u.fared(pod, nil)
	s.arrived(time.Now())
	u.frames.changed(m, true, time.Now())
	for end := time.Now().Add(u.about(4 * u.Pace)); time.Now().Before(end) && ctx.Err() == nil; {
		pause(ctx, u.about(u.Pace))
		select {
		case <-c.ended:
			return u.lose(c, s, m, c.err)
		default:
		}
		if err := u.send(c); err != nil && !errors.Is(err, errRefused) {
			return u.lose(c, s, m, err)
		}
	}
	u.frames.changing(time.Now(), m)
	s.leaving(time.Now())
	if _, err := c.do(fmt.Sprintf(`"type":"leave","channel":%q`, u.channel)); err != nil {
		return u.lose(c, s, m, err)
	}
	s.left(time.Now(), 0)
	u.frames.changed(m, false, time.Now())
	return nil
}

// send sends a message to the channel.
func (u *user) send(c *client) error {
	n := u.sent.Add(1)
	u.messages.send(time.Now(), u.channel, c.id, n)
	_, err := c.do(fmt.Sprintf(`"type":"send","channels":[%q],"message":{"audit":%q,"sender":%q,"n":%d}`, u.channel, u.run, c.id, n))
	u.messages.accepted(u.channel, c.id, n, err == nil)
	return err
}

// lose ends the connection after a failure. Watchers are told of it when the pod has noticed it, or
// counts as gone, and the grace period is over.
func (u *user) lose(c *client, s *stay, m member, err error) error {
	c.close()
	now := time.Now()
	s.left(now, settle)
	u.frames.changing(now, m)
	const dead = 5 * time.Second // until a pod counts as gone
	u.frames.changed(m, false, now.Add(dead+u.Grace))
	return err
}

// watcher listens to all channels on one pod.
type watcher struct {
	*Audit
	pod int
}

// live watches until the context ends. A connection that is lost is opened again on the same pod.
func (w *watcher) live(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.watch(ctx); err != nil {
			w.fail(w.pod, err)
		}
		w.frames.unwatch(w.pod)
		w.messages.deaf(w.pod)
		pause(ctx, w.Pace/4)
	}
}

func (w *watcher) watch(ctx context.Context) error {
	id := w.watcherID(w.pod)
	c, err := w.connect(ctx, w.pod, id, w.receive)
	if err != nil {
		return err
	}
	defer c.close()
	for _, channel := range w.channels {
		s := w.stays.begin(time.Now(), channel, w.pod, id, c.stay)
		defer func() {
			c.close()
			s.left(time.Now(), settle)
		}()
		f, err := c.do(fmt.Sprintf(`"type":"join","channel":%q,"presence":"list"`, channel))
		if err != nil {
			return fmt.Errorf("joining %s: %w", channel, err)
		}
		if f.Members == nil {
			return fmt.Errorf("%s lists no names: the audit needs channels whose members have names", channel)
		}
		s.arrived(time.Now())
	}
	w.pods[w.pod].watching.Do(func() { close(w.pods[w.pod].started) })
	select {
	case <-c.ended:
		return c.err
	case <-ctx.Done():
		return nil
	}
}

// receive takes the frames of the connection, in order.
func (w *watcher) receive(f *frame) {
	now := time.Now()
	switch f.Type {
	case "joined":
		ids := make([]string, 0, len(f.Members))
		for _, p := range f.Members {
			ids = append(ids, p.ID)
		}
		w.frames.snapshot(now, w.pod, f.Channel, ids)
		w.messages.listen(w.pod, f.Channel)
	case "presence":
		for _, p := range f.Left {
			w.frames.frame(now, seen{w.pod, f.Channel, p.ID}, false)
		}
		for _, p := range f.Joined {
			w.frames.frame(now, seen{w.pod, f.Channel, p.ID}, true)
		}
	case "message":
		if f.Message.Run == w.run {
			w.messages.receive(now, stream{w.pod, f.Channel, f.Message.Sender}, f.Message.N)
		}
	}
}

// pause waits for a time, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
