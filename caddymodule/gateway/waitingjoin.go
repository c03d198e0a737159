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
// none. Session.mu guards it.
type asking struct {
	waits  map[string]*wait     // by channel
	frames int                  // in all waits
	ends   map[string]*grantEnd // by channel
}

// wait is the frames about one channel that wait until the backend says whether the user may join.
type wait struct {
	user     string // ID
	cancel   context.CancelFunc
	frames   []entering // joins; once answered is set, also leaves
	answered bool       // the frames are being executed, in order
}

// entering is a join of a channel, or a leave.
type entering struct {
	channel string
	entry   presence.Entry // of a leave, only Ref is used
	leaves  bool
}

// Reasons for which a waiting join is refused.
var (
	errLeftFirst   = &wire.Error{Code: wire.CodeNotJoined, Message: "the channel was left before the join was answered"}
	errUserChanged = &wire.Error{Code: wire.CodeUnavailable, Message: "the user has changed: join again"}
	errManyWaiting = &wire.Error{Code: wire.CodeRateLimited, Message: "too many joins wait for an answer: slow down"}
)

// Enter joins a channel. If the user may need a grant that only the backend knows, the join waits
// for its answer without delaying other frames. [Protocol].Joined is called at the end.
func (s *Session) Enter(channel string, e presence.Entry) {
	in := entering{channel: channel, entry: e}
	if s.waitBehind(in) {
		return
	}
	if s.sock.Hold() {
		defer s.sock.Flush()
	}
	err := s.tryJoin(in)
	if errors.Is(err, presence.ErrGrantNeeded) {
		var waits bool
		if waits, err = s.startWait(in, err); waits {
			return
		}
	}
	s.finishJoin(in, err)
}

// tryJoin joins a channel. Package presence sends the answer, unless it returns an error.
func (s *Session) tryJoin(in entering) error {
	asks := s.tenant.site().Authorize != nil
	before := asks && s.isAsked(in.channel)
	err := s.conn.Enter(in.channel, in.entry)
	if err == nil && asks && !before {
		s.watchGrant(in.channel)
	}
	return err
}

// isAsked reports whether s listens to a channel by a grant of the backend.
func (s *Session) isAsked(channel string) bool { return slices.Contains(s.conn.Asked(), channel) }

// finishJoin records the result of a join, and reports it.
func (s *Session) finishJoin(in entering, err error) {
	s.counters.joined(codeOf(err))
	s.protocol.Joined(s, in.channel, in.entry.Ref, err)
}

// refuse reports that a frame is not executed.
func (s *Session) refuse(in entering, err error) {
	if in.leaves {
		s.protocol.Left(s, in.channel, in.entry.Ref, err)
		return
	}
	s.protocol.Joined(s, in.channel, in.entry.Ref, err)
}

// waitBehind queues a frame behind an earlier join of its channel. It returns false if none waits.
func (s *Session) waitBehind(in entering) bool {
	s.mu.Lock()
	w := s.waitOf(in.channel)
	queued := w != nil && s.addFrame(w, in)
	s.mu.Unlock()
	if w != nil && !queued {
		s.refuse(in, errManyWaiting)
	}
	return w != nil
}

// waitOf returns the wait for a channel, or nil. The lock is held.
func (s *Session) waitOf(channel string) *wait {
	if s.asking == nil {
		return nil
	}
	return s.asking.waits[channel]
}

// addFrame adds a frame to a wait. It returns false if there are too many. The lock is held.
func (s *Session) addFrame(w *wait, in entering) bool {
	if s.asking.frames >= maxWaitingFrames {
		return false
	}
	s.asking.frames++
	w.frames = append(w.frames, in)
	return true
}

// startWait lets a join that was refused wait for the backend. If it does not wait, startWait
// returns the reason to refuse it.
func (s *Session) startWait(in entering, refused error) (waits bool, err error) {
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
	if !s.addFrame(w, in) {
		cancel()
		return false, errManyWaiting
	}
	a.waits[in.channel] = w
	go s.await(ctx, w, in.channel) // ends with the answer, or when the wait is cancelled
	return true, nil
}

// askingLocked returns s.asking, which it makes if necessary. The lock is held.
func (s *Session) askingLocked() *asking {
	if s.asking == nil {
		s.asking = &asking{waits: make(map[string]*wait), ends: make(map[string]*grantEnd)}
	}
	return s.asking
}

// await asks the backend, and executes the frames that wait for its answer.
func (s *Session) await(ctx context.Context, w *wait, channel string) {
	defer s.recoverPanic()
	defer w.cancel()
	asked := s.ask(ctx, w.user, channel)
	for { // the answer is for all frames
		in, ok := s.nextFrame(w, channel)
		if !ok {
			return
		}
		if in.leaves {
			s.leaveJoined(in)
			continue
		}
		err := s.tryJoin(in)
		for try := 1; errors.Is(err, presence.ErrGrantNeeded); try++ {
			if asked != nil || s.isRefused(channel) {
				break
			}
			// The answer was forgotten, or is of the backend from before a reload.
			if asked = authorize.ErrUnavailable; try < maxAskedAgain {
				asked = s.ask(ctx, w.user, channel)
			}
			err = s.tryJoin(in)
		}
		if asked != nil && errors.Is(err, presence.ErrGrantNeeded) {
			err = asked
		}
		s.finishJoin(in, err)
	}
}

// isRefused reports whether the backend has said that the user may not join.
func (s *Session) isRefused(channel string) bool {
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
func (s *Session) nextFrame(w *wait, channel string) (entering, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waitOf(channel) != w {
		return entering{}, false
	}
	w.answered = true
	if len(w.frames) == 0 {
		delete(s.asking.waits, channel)
		return entering{}, false
	}
	in := w.frames[0]
	w.frames = w.frames[1:]
	s.asking.frames--
	return in, true
}

// ask asks the backend whether the user may join, at most for the timeout. The answer is then among
// the kept ones, where package presence looks. An error means that there is none.
func (s *Session) ask(ctx context.Context, userID, channel string) error {
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
func (s *Session) question(user presence.User, channel string) authorize.Question {
	user.Status = ""
	return authorize.Question{Host: s.tenant.name, Channel: channel, User: user}
}

// Leave leaves a channel. It cancels a join that waits for the backend. Package presence sends the
// answer, or [Protocol].Left is called.
func (s *Session) Leave(channel, ref string) {
	out := entering{channel: channel, entry: presence.Entry{Ref: ref}, leaves: true}
	s.mu.Lock()
	w := s.waitOf(channel)
	if w == nil {
		s.mu.Unlock()
		s.leaveJoined(out)
		return
	}
	if w.answered {
		queued := s.addFrame(w, out)
		s.mu.Unlock()
		if !queued {
			s.refuse(out, errManyWaiting)
		}
		return
	}
	frames := s.cancelWait(w, channel)
	s.mu.Unlock()
	for _, join := range frames {
		s.finishJoin(join, errLeftFirst)
	}
	if s.conn.Leave(channel, ref) == nil { // the server has joined it meanwhile
		s.dropEnd(channel)
		return
	}
	s.protocol.Left(s, channel, ref, nil)
}

// leaveJoined leaves a channel without a waiting join.
func (s *Session) leaveJoined(out entering) {
	if err := s.conn.Leave(out.channel, out.entry.Ref); err != nil {
		s.protocol.Left(s, out.channel, out.entry.Ref, err)
		return
	}
	s.dropEnd(out.channel)
}

// cancelWait ends a wait and returns its frames. The lock is held.
func (s *Session) cancelWait(w *wait, channel string) []entering {
	w.cancel()
	delete(s.asking.waits, channel)
	s.asking.frames -= len(w.frames)
	return w.frames
}

// cancelWaitsOfOthers ends the waits that began with another user than the present one.
func (s *Session) cancelWaitsOfOthers() {
	user, _ := s.conn.User()
	var refused []entering
	s.mu.Lock()
	if s.asking != nil {
		for channel, w := range s.asking.waits {
			if w.user != user.ID && !w.answered {
				refused = append(refused, s.cancelWait(w, channel)...)
			}
		}
	}
	s.mu.Unlock()
	for _, in := range refused {
		s.finishJoin(in, errUserChanged)
	}
}

// endAsking ends all waits and timers. No other starts, because ended is set.
func (s *Session) endAsking() {
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
func (s *Session) recoverPanic() {
	if v := recover(); v != nil {
		s.Panicked(v)
		s.Close(socket.CloseInternal, "internal error", socket.ReasonPanic)
	}
}
