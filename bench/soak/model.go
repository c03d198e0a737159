package main

import (
	"fmt"

	"github.com/rollcall-gateway/rollcall/internal/model"
)

// dataCenter is the one data center of the pods.
const dataCenter = "soak"

// podOf returns the pod with a number.
func podOf(n int) model.Pod { return model.Pod{DC: dataCenter, Name: fmt.Sprintf("pod-%d", n)} }

// userOf returns the user with a number.
func userOf(n int) model.User {
	return model.User{
		ID:    fmt.Sprintf("00000000-0000-4000-8000-%012d", n),
		Email: fmt.Sprintf("first.last.%08d@portal.example.com", n),
	}
}

// state is what a worker reports about its connections.
type state struct {
	Conns    []conn
	Messages int // received
}

// conn is an open connection in a worker's report.
type conn struct {
	ID       string
	User     *model.User `json:",omitempty"` // nil for an anonymous one
	Channels []string
}

// newState collects the open sockets.
func newState(sockets []*socket, messages int) state {
	s := state{Conns: make([]conn, len(sockets)), Messages: messages}
	for i, socket := range sockets {
		s.Conns[i] = conn{socket.id, socket.user, socket.channels}
	}
	return s
}

// listeners counts the worker's connections that listen to each channel.
func (s *state) listeners() map[string]int {
	n := make(map[string]int)
	for _, c := range s.Conns {
		for _, channel := range c.Channels {
			n[channel]++
		}
	}
	return n
}

// newModel combines the reports of all workers, one per pod.
func newModel(states []state) *model.Model {
	pods := make([]model.Pod, len(states))
	for i := range states {
		pods[i] = podOf(i)
	}
	m := model.New(pods)
	for i, s := range states {
		for _, c := range s.Conns {
			m.Connect(c.ID, pods[i], c.User, c.Channels...)
		}
	}
	return m
}

// compareUsers returns an error unless body is the pod's answer to /message/users.
func compareUsers(body []byte, m *model.Model, pod model.Pod) error {
	got, err := model.ParseUsers(body)
	if err != nil {
		return fmt.Errorf("users: %w", err)
	}
	if err := model.Compare(got, m.Users(func(p model.Pod) bool { return p == pod })); err != nil {
		return fmt.Errorf("users: %w", err)
	}
	return nil
}

// withUsers is the request to /message/allusers.
var withUsers = model.Shape{Include: true}

// compareAllUsers returns an error unless body is the answer to /message/allusers with users.
func compareAllUsers(body []byte, m *model.Model) error {
	got, err := model.ParseAllUsers(body, withUsers)
	if err != nil {
		return fmt.Errorf("allusers: %w", err)
	}
	if err := model.Compare(got, m.AllUsers(withUsers)); err != nil {
		return fmt.Errorf("allusers: %w", err)
	}
	return nil
}
