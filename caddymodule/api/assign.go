package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// maxAssignedUsers is the maximum number of users in a request.
const maxAssignedUsers = 1000

// addUser answers /message/adduser: it assigns users to channels.
func (s *Server) addUser(ctx context.Context, q request) (response, *problem.Problem) {
	wishes, p := q.readWishes(true)
	if p != nil {
		return response{}, p
	}
	if p := q.assignable(wishes); p != nil {
		return response{}, p
	}
	return s.assign(ctx, q, wishes, func(b *assignment.Book) ([]assignment.Record, error) {
		return b.Assign(q.host, wishes, q.site.Limits.Channels)
	})
}

// removeUser answers /message/removeuser: it ends assignments.
func (s *Server) removeUser(ctx context.Context, q request) (response, *problem.Problem) {
	wishes, p := q.readWishes(false)
	if p != nil {
		return response{}, p
	}
	kept := true
	answer, p := s.assign(ctx, q, wishes, func(b *assignment.Book) (records []assignment.Record, err error) {
		records, kept, err = b.Remove(q.host, wishes)
		return records, err
	})
	if !kept && answer.truth != nil {
		answer.truth.Complete = false
	}
	return answer, p
}

// assign changes assignments, sends the change to the other pods, and returns the users.
func (s *Server) assign(
	ctx context.Context, q request, wishes []assignment.Wish, change func(b *assignment.Book) ([]assignment.Record, error),
) (response, *problem.Problem) {
	records, err := s.Assignments.Change(change)
	if err != nil {
		return response{}, problemAssignment(err)
	}
	truth := s.Spread(ctx, q.site, q.host, records)
	body := append([]byte(nil), `{"users":[`...)
	for i := range wishes {
		if i > 0 {
			body = append(body, ',')
		}
		body = wire.AppendString(body, wishes[i].User)
	}
	return response{body: append(body, "]}"...), truth: &truth, status: http.StatusCreated}, nil
}

func problemAssignment(err error) *problem.Problem {
	switch {
	case errors.Is(err, assignment.ErrTooManyChannels):
		return &problem.Problem{Status: http.StatusBadRequest, Code: "too_many_channels", Detail: err.Error()}
	case errors.Is(err, assignment.ErrTooMany):
		return &problem.Problem{Status: http.StatusBadRequest, Code: "too_many_assignments", Detail: err.Error()}
	}
	return &problem.Problem{
		Status: http.StatusServiceUnavailable, Code: "unavailable",
		Detail: "assignments cannot be saved now, and nothing was changed: the server's log says why",
		Retry:  assign.RetryEvery,
	}
}

// readWishes reads the users of a request. modes says whether to read the modes of channels. An
// error names the place of the value, because it may be one of a thousand.
func (q request) readWishes(modes bool) ([]assignment.Wish, *problem.Problem) {
	var users []json.RawMessage
	if !decodeValue(q.body["users"], &users) {
		return nil, problem.BadValue(`users must be an array of {"id", "channels": [{"name", "mode"}]}`)
	}
	if len(users) > maxAssignedUsers {
		return nil, problem.BadValue("users has more than %d elements", maxAssignedUsers)
	}
	wishes := make([]assignment.Wish, len(users))
	for i, raw := range users {
		var u struct{ ID, Channels json.RawMessage }
		if !decodeValue(raw, &u) {
			return nil, problem.BadValue("users[%d] must be an object", i)
		}
		if !decodeValue(u.ID, &wishes[i].User) {
			return nil, problem.BadValue("users[%d].id must be a string", i)
		}
		if presence.CheckUserID(wishes[i].User) != nil {
			return nil, problem.BadValue("users[%d].id must be plain text of 1 to %d bytes", i, presence.MaxUserID)
		}
		if u.Channels == nil {
			continue
		}
		var p *problem.Problem
		if wishes[i].Channels, p = readAssignments(i, u.Channels, modes); p != nil {
			return nil, p
		}
	}
	return wishes, nil
}

// readAssignments reads the channels of user i. The list is not nil.
func readAssignments(i int, raw json.RawMessage, modes bool) ([]assignment.Assignment, *problem.Problem) {
	var channels []json.RawMessage
	if !decodeValue(raw, &channels) {
		return nil, problem.BadValue("users[%d].channels must be an array", i)
	}
	list := make([]assignment.Assignment, len(channels))
	for j, raw := range channels {
		var c struct{ Name, Mode json.RawMessage }
		if !decodeValue(raw, &c) {
			return nil, problem.BadValue("users[%d].channels[%d] must be an object", i, j)
		}
		if !decodeValue(c.Name, &list[j].Channel) {
			return nil, problem.BadValue("users[%d].channels[%d].name must be a string", i, j)
		}
		if !modes {
			c.Mode = nil
		}
		mode, ok := readMode(c.Mode)
		if !ok {
			return nil, problem.BadValue("users[%d].channels[%d].mode must be ignore, listen or receive", i, j)
		}
		list[j].Mode = mode
	}
	return list, nil
}

// decodeValue decodes a required value. null is refused: many programs write it for an empty list,
// and removeuser without channels ends all assignments of a user.
func decodeValue(raw json.RawMessage, to any) bool {
	return raw != nil && string(raw) != "null" && json.Unmarshal(raw, to) == nil
}

// readMode reads a mode, which may be absent.
func readMode(raw json.RawMessage) (assignment.Mode, bool) {
	var mode string
	if raw != nil && (json.Unmarshal(raw, &mode) != nil || mode == "") {
		return assignment.None, false
	}
	m, err := assignment.ParseMode(mode)
	return m, err == nil
}

// assignable returns a problem if users cannot be assigned to one of the channels.
func (q request) assignable(wishes []assignment.Wish) *problem.Problem {
	known := make(map[string]bool)
	for i, w := range wishes {
		if w.Channels == nil {
			return problem.BadValue("users[%d].channels must be an array", i)
		}
		for j, a := range w.Channels {
			if known[a.Channel] {
				continue
			}
			known[a.Channel] = true
			err := q.site.Rules().Assignable(q.host, a.Channel)
			switch {
			case err == nil:
			case errors.Is(err, presence.ErrUnavailable):
				return problem.PluginFailed()
			default:
				return &problem.Problem{
					Status: http.StatusBadRequest, Code: "bad_channel", Channel: a.Channel,
					Detail: fmt.Sprintf("users[%d].channels[%d]: %s", i, j, err),
				}
			}
		}
	}
	return nil
}
