package gateway

import (
	"context"
	"errors"
	"slices"

	"github.com/rollcall-gateway/rollcall/caddymodule/authorize"
	"github.com/rollcall-gateway/rollcall/caddymodule/socket"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
)

// maxWaitingFrames is the maximum number of frames of a connection that wait for the backend. A
// page that reconnects joins all its channels at once.
const maxWaitingFrames = 256

// maxAskedAgain limits how often one join asks, while what is known of its user changes.
const maxAskedAgain = 3

// asking is what a session has to do with the backend that decides who may join. Most sessions have
// none. session.mu guards it.
type asking struct {
	waits  map[string]*wait     // by channel
	frames int                  // in all waits
	ends   map[string]*grantEnd // by channel
}

// wait is the frames about one channel that wait until the backend says whether the user may join.
type wait struct {
	user     string // ID
	cancel   context.CancelFunc
	frames   []wire.Command // joins; once answered is set, also leaves
	answered bool           // the frames are being executed, in order
}

// Reasons for which a waiting join is refused.
var (
	errLeftFirst   = &wire.Error{Code: wire.CodeNotJoined, Message: "the channel was left before the join was answered"}
	errUserChanged = &wire.Error{Code: wire.CodeUnavailable, Message: "the user has changed: join again"}
	errManyWaiting = &wire.Error{Code: wire.CodeRateLimited, Message: "too many joins wait for an answer: slow down"}
)

// join executes a join. If the user may need a grant that only the backend knows, the join waits for
// its answer without delaying other frames.
func (s *session) join(cmd wire.Command) {
	if s.waitBehind(cmd) {
		return
	}
	if s.sock.Hold() {
		defer s.sock.Flush()
	}
	err := s.tryJoin(cmd)
	if errors.Is(err, presence.ErrGrantNeeded) {
		var waits bool
		if waits, err = s.startWait(cmd, err); waits {
			return
		}
	}
	s.finishJoin(cmd, err)
}

// tryJoin joins a channel. Package presence sends the answer, unless it returns an error.
func (s *session) tryJoin(cmd wire.Command) error {
	asks := s.tenant.site().Authorize != nil
	before := asks && s.isAsked(cmd.Channel)
	err := s.conn.Join(cmd.Channel, cmd.Watch, cmd.Ref)
	if err == nil && asks && !before {
		s.watchGrant(cmd.Channel)
	}
	return err
}

// isAsked reports whether s listens to a channel by a grant of the backend.
func (s *session) isAsked(channel string) bool { return slices.Contains(s.conn.Asked(), channel) }

// finishJoin records the result of a join, and sends its error.
func (s *session) finishJoin(cmd wire.Command, err error) {
	s.counters.joined(codeOf(err))
	if err != nil {
		s.fail(cmd.Ref, err)
	}
}

// waitBehind queues a frame behind an earlier join of its channel. It returns false if none waits.
func (s *session) waitBehind(cmd wire.Command) bool {
	s.mu.Lock()
	w := s.waitOf(cmd.Channel)
	queued := w != nil && s.addFrame(w, cmd)
	s.mu.Unlock()
	if w != nil && !queued {
		s.fail(cmd.Ref, errManyWaiting)
	}
	return w != nil
}

// waitOf returns the wait for a channel, or nil. The lock is held.
func (s *session) waitOf(channel string) *wait {
	if s.asking == nil {
		return nil
	}
	return s.asking.waits[channel]
}

// addFrame adds a frame to a wait. It returns false if there are too many. The lock is held.
func (s *session) addFrame(w *wait, cmd wire.Command) bool {
	if s.asking.frames >= maxWaitingFrames {
		return false
	}
	s.asking.frames++
	w.frames = append(w.frames, cmd)
	return true
}

// startWait lets a join that was refused wait for the backend. If it does not wait, startWait
// returns the reason to refuse it.
func (s *session) startWait(cmd wire.Command, refused error) (waits bool, err error) {
	user, ok := s.conn.User()
	if s.tenant.site().Authorize == nil || !ok {
		return false, refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false, presence.ErrClosed
	}
	a := s.askingLocked()
	ctx, cancel := context.WithCancel(context.Background())
	w := &wait{user: user.ID, cancel: cancel}
	if !s.addFrame(w, cmd) {
		cancel()
		return false, errManyWaiting
	}
	a.waits[cmd.Channel] = w
	go s.await(ctx, w, cmd.Channel) // ends with the answer, or when the wait is cancelled
	return true, nil
}

// askingLocked returns s.asking, which it makes if necessary. The lock is held.
func (s *session) askingLocked() *asking {
	if s.asking == nil {
		s.asking = &asking{waits: make(map[string]*wait), ends: make(map[string]*grantEnd)}
	}
	return s.asking
}

// await asks the backend, and executes the frames that wait for its answer.
func (s *session) await(ctx context.Context, w *wait, channel string) {
	defer s.recoverPanic()
	defer w.cancel()
	asked := s.ask(ctx, w.user, channel)
	for { // the answer is for all frames
		cmd, ok := s.nextFrame(w, channel)
		if !ok {
			return
		}
		if cmd.Type == wire.TypeLeave {
			s.leaveJoined(cmd)
			continue
		}
		err := s.tryJoin(cmd)
		for try := 1; errors.Is(err, presence.ErrGrantNeeded); try++ {
			if asked != nil || s.isRefused(channel) {
				break
			}
			// The answer was forgotten, or is of the backend from before a reload.
			if asked = authorize.ErrUnavailable; try < maxAskedAgain {
				asked = s.ask(ctx, w.user, channel)
			}
			err = s.tryJoin(cmd)
		}
		if asked != nil && errors.Is(err, presence.ErrGrantNeeded) {
			err = asked
		}
		s.finishJoin(cmd, err)
	}
}

// isRefused reports whether the backend has said that the user may not join.
func (s *session) isRefused(channel string) bool {
	to := s.tenant.site().Authorize
	if to == nil {
		return true
	}
	user, _ := s.conn.User()
	a, ok := s.hub.Asker.Kept(to, s.question(user, channel))
	return ok && !a.Allow
}

// nextFrame removes the next frame of a wait. It returns false if the wait was cancelled or has no
// more frames, and then it has ended.
func (s *session) nextFrame(w *wait, channel string) (wire.Command, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waitOf(channel) != w {
		return wire.Command{}, false
	}
	w.answered = true
	if len(w.frames) == 0 {
		delete(s.asking.waits, channel)
		return wire.Command{}, false
	}
	cmd := w.frames[0]
	w.frames = w.frames[1:]
	s.asking.frames--
	return cmd, true
}

// ask asks the backend whether the user may join, at most for the timeout. The answer is then among
// the kept ones, where package presence looks. An error means that there is none.
func (s *session) ask(ctx context.Context, userID, channel string) error {
	to := s.tenant.site().Authorize
	if to == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, to.Timeout)
	defer cancel()
	for range maxAskedAgain {
		user, ok := s.conn.User()
		if !ok || user.ID != userID {
			return errUserChanged
		}
		q := s.question(user, channel)
		if _, err := s.hub.Asker.Ask(ctx, to, q); err != nil {
			return authorize.ErrUnavailable
		}
		if now, _ := s.conn.User(); s.question(now, channel) == q {
			return nil
		}
	}
	return authorize.ErrUnavailable
}

// question returns the question whether a user may join a channel. The status is left out, because
// it says nothing about rights and changes often.
func (s *session) question(user presence.User, channel string) authorize.Question {
	user.Status = ""
	return authorize.Question{Host: s.tenant.name, Channel: channel, User: user}
}

// leave executes a leave. It cancels a join that waits for the backend.
func (s *session) leave(cmd wire.Command) {
	s.mu.Lock()
	w := s.waitOf(cmd.Channel)
	if w == nil {
		s.mu.Unlock()
		s.leaveJoined(cmd)
		return
	}
	if w.answered {
		queued := s.addFrame(w, cmd)
		s.mu.Unlock()
		if !queued {
			s.fail(cmd.Ref, errManyWaiting)
		}
		return
	}
	frames := s.cancelWait(w, cmd.Channel)
	s.mu.Unlock()
	for _, join := range frames {
		s.finishJoin(join, errLeftFirst)
	}
	if s.conn.Leave(cmd.Channel, cmd.Ref) == nil { // the server has joined it meanwhile
		s.dropEnd(cmd.Channel)
		return
	}
	s.answer(wire.Encoder{}.Left(cmd.Ref, cmd.Channel, ""))
}

// leaveJoined leaves a channel without a waiting join.
func (s *session) leaveJoined(cmd wire.Command) {
	if err := s.conn.Leave(cmd.Channel, cmd.Ref); err != nil {
		s.fail(cmd.Ref, err)
		return
	}
	s.dropEnd(cmd.Channel)
}

// cancelWait ends a wait and returns its frames. The lock is held.
func (s *session) cancelWait(w *wait, channel string) []wire.Command {
	w.cancel()
	delete(s.asking.waits, channel)
	s.asking.frames -= len(w.frames)
	return w.frames
}

// cancelWaitsOfOthers ends the waits that began with another user than the present one.
func (s *session) cancelWaitsOfOthers() {
	user, _ := s.conn.User()
	var refused []wire.Command
	s.mu.Lock()
	if s.asking != nil {
		for channel, w := range s.asking.waits {
			if w.user != user.ID && !w.answered {
				refused = append(refused, s.cancelWait(w, channel)...)
			}
		}
	}
	s.mu.Unlock()
	for _, cmd := range refused {
		s.finishJoin(cmd, errUserChanged)
	}
}

// endAsking ends all waits and timers. No other starts, because ended is set.
func (s *session) endAsking() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking == nil {
		return
	}
	for channel, w := range s.asking.waits {
		s.cancelWait(w, channel)
	}
	for channel, e := range s.asking.ends {
		e.stop()
		delete(s.asking.ends, channel)
	}
}

// recoverPanic is deferred by goroutines of a session, so that a panic ends only its connection.
func (s *session) recoverPanic() {
	if v := recover(); v != nil {
		s.Panicked(v)
		s.sock.Close(socket.CloseInternal, "internal error", socket.Cause{Reason: socket.ReasonPanic})
	}
}
