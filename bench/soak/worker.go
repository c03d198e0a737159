package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
	"github.com/rollcall-gateway/rollcall/internal/model"
)

// Commands of a worker, one per line. It answers each with a line of JSON, and ends with its input.
const (
	commandRun   = "run"   // replace connections and send messages
	commandStop  = "stop"  // stop that; the answer is the state after everything has settled
	commandSend  = "send"  // send a few messages; the answer is their channels
	commandCount = "count" // the answer is the number of messages received so far
)

// socket is a connection with its state in the model.
type socket struct {
	conn     *load.Conn
	id       string      // from its welcome frame
	user     *model.User // nil for an anonymous one
	channels []string
	asked    int // unanswered commands
}

// worker is a process with the connections to one pod.
type worker struct {
	*options
	loop   *load.Loop
	random *rand.Rand
	live   []*socket
	byConn map[*load.Conn]*socket
	asked  int   // unanswered commands of all sockets
	failed error // the first error frame

	running        bool
	since          time.Time // start of the current run
	replaced, sent int       // in the current run
}

// work runs a worker.
func work(ctx context.Context, o *options) error {
	l, err := load.NewLoop()
	if err != nil {
		return err
	}
	defer l.Close()
	w := &worker{
		options: o, loop: l, byConn: make(map[*load.Conn]*socket),
		random: rand.New(rand.NewPCG(uint64(o.worker), uint64(o.sockets))),
	}
	l.OnText = w.heard
	for len(w.live) < o.share || l.Opening() > 0 {
		for len(w.live) < o.share && l.Opening() < 64 {
			if err := w.open(); err != nil {
				return err
			}
		}
		if err := w.poll(ctx); err != nil {
			return err
		}
	}
	fmt.Println("{}") // ready
	return w.serve(ctx, readLines())
}

// readLines returns the lines of standard input.
func readLines() <-chan string {
	lines := make(chan string)
	go func() { // ends with standard input, or the process
		defer close(lines)
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}

func (w *worker) serve(ctx context.Context, commands <-chan string) error {
	for {
		select {
		case command, more := <-commands:
			if !more {
				return nil
			}
			answer, err := w.obey(ctx, command)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
				return err
			}
		default:
		}
		if w.running {
			if err := w.move(); err != nil {
				return err
			}
		}
		if err := w.poll(ctx); err != nil {
			return err
		}
	}
}

// answer is the answer of a worker; fields that do not apply are empty.
type answer struct {
	State    *state   `json:",omitempty"`
	Channels []string `json:",omitempty"`
	Messages int      `json:",omitempty"`
}

func (w *worker) obey(ctx context.Context, command string) (answer, error) {
	switch command {
	case commandRun:
		w.running, w.since, w.replaced, w.sent = true, time.Now(), 0, 0
		return answer{}, nil
	case commandStop:
		w.running = false
		ctx, cancel := context.WithTimeout(ctx, settleWithin)
		defer cancel()
		for w.loop.Opening() > 0 || w.asked > 0 {
			if err := w.poll(ctx); err != nil {
				return answer{}, fmt.Errorf("%d connections do not open, %d commands are not answered: %w", w.loop.Opening(), w.asked, err)
			}
		}
		s := newState(w.live, w.loop.Messages)
		return answer{State: &s}, nil
	case commandSend:
		const some = 10
		var a answer
		for range some {
			a.Channels = append(a.Channels, w.say())
		}
		return a, nil
	case commandCount:
		return answer{Messages: w.loop.Messages}, nil
	default:
		return answer{}, fmt.Errorf("no command is called %q", command)
	}
}

func (w *worker) poll(ctx context.Context) error {
	return errors.Join(w.loop.Poll(ctx, 5*time.Millisecond), w.failed)
}

// heard handles a frame that a socket received.
func (w *worker) heard(c *load.Conn, payload []byte) {
	s := w.byConn[c]
	kind, rest, _ := strings.Cut(strings.TrimPrefix(string(payload[:min(len(payload), 100)]), `{"type":"`), `"`)
	switch kind {
	case "welcome":
		_, rest, _ = strings.Cut(rest, `"connection":"`)
		s.id, _, _ = strings.Cut(rest, `"`)
	case "joined", "left", "sent":
		if c.Ready() { // frames before are steps of the plan
			s.asked--
			w.asked--
		}
	case "error":
		if w.failed == nil {
			w.failed = fmt.Errorf("connection %d: %.300s", c.Number, payload)
		}
	}
}

// move makes the changes that are due: for each connection that opens, one closes, and one moves
// from one channel to another.
func (w *worker) move() error {
	seconds := time.Since(w.since).Seconds()
	for due := int(seconds / w.minute.Seconds() * float64(len(w.live)*w.churn) / 100); w.replaced < due; w.replaced++ {
		w.closeOne()
		if err := w.open(); err != nil {
			return err
		}
		w.change()
	}
	for due := int(seconds * float64(w.messages) / float64(w.workers)); w.sent < due; w.sent++ {
		w.say()
	}
	return nil
}

// open opens a connection of a user, or an anonymous one.
func (w *worker) open() error {
	s := &socket{}
	plan := &load.Plan{Address: w.address, Path: "/message/socket", Host: w.address}
	for range 2 {
		s.join(w.lobby())
	}
	if w.random.IntN(10) < 7 {
		user := userOf(w.random.IntN(max(w.sockets/2, 1))) // some are connected more than once
		s.user = &user
		plan.Header = load.Bearer(server.TokenSecret, user.ID, user.Email)
		for range 2 {
			s.join(w.room())
		}
	}
	presence := "none"
	if w.random.IntN(10) == 0 {
		presence = "list"
	}
	await := `{"type":"welcome"`
	for _, channel := range s.channels {
		plan.Steps = append(plan.Steps, load.Step{
			Await: await, Send: fmt.Sprintf(`{"type":"join","channel":%q,"presence":%q}`, channel, presence),
		})
		await = `{"type":"joined"`
	}
	plan.Steps = append(plan.Steps, load.Step{Await: await})
	c, err := w.loop.Open(plan)
	if err != nil {
		return err
	}
	s.conn = c
	w.byConn[c] = s
	w.live = append(w.live, s)
	return nil
}

// closeOne closes a connection, with or without a close frame.
func (w *worker) closeOne() {
	i := w.random.IntN(len(w.live))
	s, last := w.live[i], len(w.live)-1
	w.live[i] = w.live[last]
	w.live = w.live[:last]
	delete(w.byConn, s.conn)
	w.asked -= s.asked
	if w.random.IntN(2) == 0 {
		w.loop.Leave(s.conn)
	} else {
		w.loop.CloseConn(s.conn)
	}
}

// change makes a socket leave its last channel and join another of the same kind.
func (w *worker) change() {
	s := w.any()
	if s == nil {
		return
	}
	last := len(s.channels) - 1
	left := s.channels[last]
	s.channels = s.channels[:last]
	joined := w.lobby()
	if !model.IsAnonymous(left) {
		joined = w.room()
	}
	s.join(joined)
	w.ask(s, fmt.Sprintf(`{"type":"leave","channel":%q}`, left))
	if len(s.channels) > last { // otherwise it listens to that channel already
		w.ask(s, fmt.Sprintf(`{"type":"join","channel":%q}`, joined))
	}
}

// say makes a socket send a message to one of its channels, and returns the channel; "" if there is
// none.
func (w *worker) say() string {
	s := w.any()
	if s == nil || len(s.channels) == 0 {
		return ""
	}
	channel := s.channels[w.random.IntN(len(s.channels))]
	w.ask(s, fmt.Sprintf(`{"type":"send","channels":[%q],"message":{"text":"%c"}}`, channel, load.Mark))
	return channel
}

// any returns a ready socket, or nil if it finds none.
func (w *worker) any() *socket {
	const tries = 100
	for range tries {
		if s := w.live[w.random.IntN(len(w.live))]; s.conn.Ready() {
			return s
		}
	}
	return nil
}

func (w *worker) ask(s *socket, frame string) {
	s.asked++
	w.asked++
	s.conn.Send(frame)
}

// join records a channel, unless the socket is already in it.
func (s *socket) join(channel string) {
	if !slices.Contains(s.channels, channel) {
		s.channels = append(s.channels, channel)
	}
}

// A room has about 50 users on all pods, and a lobby about 500 connections.
func (w *worker) room() string {
	return fmt.Sprintf("room-%d", w.random.IntN(w.sockets/40+1))
}

func (w *worker) lobby() string {
	return fmt.Sprintf("anonymous-lobby-%d", w.random.IntN(w.sockets/250+1))
}
