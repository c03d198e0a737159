package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/rollcall-gateway/rollcall/bench/load"
	"github.com/rollcall-gateway/rollcall/bench/server"
	"github.com/rollcall-gateway/rollcall/internal/model"
)

// Time limits on a busy machine: for the answer to the last command, and until pods have noticed
// who left.
const (
	settleWithin  = time.Minute
	compareWithin = 30 * time.Second
)

// run runs a whole soak.
func (o *options) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "rollcall-soak")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	shares := load.Divide(o.sockets, o.limit)
	pods, err := (server.Caddy{Program: o.caddy, Dir: dir}).StartPods(ctx, dataCenter, len(shares))
	defer func() {
		for _, p := range pods {
			err = errors.Join(err, p.Stop())
		}
	}()
	if err != nil {
		return err
	}
	before, err := o.warm(ctx, pods)
	if err != nil {
		return err
	}
	progress("%d pods without connections: %s", len(pods), before)

	crews, err := o.startCrews(ctx, pods, shares)
	if err == nil {
		err = o.soak(ctx, pods, crews)
	}
	if err = errors.Join(err, dismiss(crews)); err != nil {
		return err
	}
	if err := compare(ctx, pods, make([]state, len(pods))); err != nil {
		return fmt.Errorf("when all had left: %w", err)
	}
	after, err := backTo(ctx, pods, before)
	if err != nil {
		return err
	}
	progress("all have left: %s; %d minutes without a difference", after, o.minutes)
	return nil
}

// warm opens and closes some connections, because what the first ones leave behind is not a leak.
// It returns the gauge after that.
func (o *options) warm(ctx context.Context, pods []*server.Process) (gauge, error) {
	const some = 200
	shares := make([]int, len(pods))
	for i := range shares {
		shares[i] = some
	}
	crews, err := o.startCrews(ctx, pods, shares)
	if err := errors.Join(err, dismiss(crews)); err != nil {
		return gauge{}, err
	}
	if err := compare(ctx, pods, make([]state, len(pods))); err != nil {
		return gauge{}, err
	}
	return atLeast(ctx, pods)
}

// soak runs the minutes.
func (o *options) soak(ctx context.Context, pods []*server.Process, crews []*crew) error {
	var held []int
	for minute := 1; minute <= o.minutes; minute++ {
		if _, err := tell(crews, commandRun); err != nil {
			return err
		}
		if err := pause(ctx, o.minute); err != nil {
			return err
		}
		answers, err := tell(crews, commandStop)
		if err != nil {
			return err
		}
		states := make([]state, len(answers))
		for i, a := range answers {
			states[i] = *a.State
		}
		if err := compare(ctx, pods, states); err != nil {
			return fmt.Errorf("minute %d: %w", minute, err)
		}
		if o.messages > 0 {
			if err := deliver(ctx, crews, states); err != nil {
				return fmt.Errorf("minute %d: %w", minute, err)
			}
		}
		g, err := read(ctx, pods)
		if err != nil {
			return err
		}
		held = append(held, g.held)
		progress("minute %d: %s; %s", minute, summary(states), g)
	}
	return flat(held)
}

// summary describes what was compared.
func summary(states []state) string {
	var connections, messages int
	channels := make(map[string]bool)
	for _, s := range states {
		connections += len(s.Conns)
		messages += s.Messages
		for channel := range s.listeners() {
			channels[channel] = true
		}
	}
	return fmt.Sprintf("%d connections, %d channels and %d messages as they should be", connections, len(channels), messages)
}

// compare compares the answers of all pods with the states of their workers. A pod may need a
// moment to notice that a connection has closed.
func compare(ctx context.Context, pods []*server.Process, states []state) error {
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	m := newModel(states)
	for {
		err := compareOnce(ctx, pods, m)
		if err == nil {
			return nil
		}
		if late := pause(ctx, 300*time.Millisecond); late != nil {
			return err
		}
	}
}

func compareOnce(ctx context.Context, pods []*server.Process, m *model.Model) error {
	for i, p := range pods {
		body, err := request(ctx, http.MethodPost, "http://"+p.Address+"/message/users", `{}`)
		if err != nil {
			return err
		}
		if err := compareUsers(body, m, podOf(i)); err != nil {
			return fmt.Errorf("pod %d: %w", i, err)
		}
		body, err = request(ctx, http.MethodPost, "http://"+p.Address+"/message/allusers", `{"includeUsers":true,"requireComplete":true}`)
		if err != nil {
			return err
		}
		if err := compareAllUsers(body, m); err != nil {
			return fmt.Errorf("pod %d: %w", i, err)
		}
	}
	return nil
}

// deliver makes each worker send some messages while no connection opens or closes. Every listener
// on any pod must receive each message exactly once.
func deliver(ctx context.Context, crews []*crew, states []state) error {
	base, err := quiet(ctx, crews)
	if err != nil {
		return err
	}
	sent, err := tell(crews, commandSend)
	if err != nil {
		return err
	}
	listeners := make([]map[string]int, len(states))
	for i := range states {
		listeners[i] = states[i].listeners()
	}
	want := append([]int(nil), base...)
	for _, a := range sent {
		for _, channel := range a.Channels {
			for i := range states {
				want[i] += listeners[i][channel]
			}
		}
	}
	got, err := quiet(ctx, crews)
	if err != nil {
		return err
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("connections of pod %d got %d messages, want %d", i, got[i]-base[i], want[i]-base[i])
		}
	}
	return nil
}

// quiet waits until no more messages arrive, and returns the number that each worker's connections
// received.
func quiet(ctx context.Context, crews []*crew) ([]int, error) {
	const still = time.Second
	last := make([]int, len(crews))
	for since := time.Now(); time.Since(since) < still; {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
		answers, err := tell(crews, commandCount)
		if err != nil {
			return nil, err
		}
		for i, a := range answers {
			if a.Messages != last[i] {
				last[i], since = a.Messages, time.Now()
			}
		}
	}
	return last, nil
}

// progress prints a line with the time.
func progress(format string, args ...any) {
	fmt.Println(time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
