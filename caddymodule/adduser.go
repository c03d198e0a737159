package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// maxAssignedUsers is how many users one request can be about.
const maxAssignedUsers = 1000

// assignedUser is an element of users. Pointers tell what is missing from what is empty.
type assignedUser struct {
	ID       *string          `json:"id"`
	Channels assignedChannels `json:"channels"`
}

// assignedChannels are a user's, if any are given. To removeuser, none given are all: null must not be taken for that.
type assignedChannels struct {
	given bool
	list  []assignedChannel
}

var errNoList = errors.New("channels is null")

// UnmarshalJSON implements json.Unmarshaler.
func (c *assignedChannels) UnmarshalJSON(b []byte) error {
	c.given = true
	if string(b) == "null" {
		return errNoList
	}
	return json.Unmarshal(b, &c.list)
}

type assignedChannel struct {
	Name *string `json:"name"`
	Mode *string `json:"mode"`
}

// addUser answers /message/adduser: it assigns users to channels.
func (h *Handler) addUser(ctx context.Context, q question) (answer, *problem) {
	users, p := readAssignedUsers(q)
	if p != nil {
		return answer{}, p
	}
	wishes, p := q.wishes(users)
	if p != nil {
		return answer{}, p
	}
	if p := q.assignable(wishes); p != nil {
		return answer{}, p
	}
	return h.assign(ctx, q, wishes, func(b *assignment.Book) ([]assignment.Record, error) {
		return b.Assign(q.host, wishes, q.site.limits.channels)
	})
}

// removeUser answers /message/removeuser: it ends assignments.
func (h *Handler) removeUser(ctx context.Context, q question) (answer, *problem) {
	users, p := readAssignedUsers(q)
	if p != nil {
		return answer{}, p
	}
	for i := range users {
		for j := range users[i].Channels.list {
			users[i].Channels.list[j].Mode = nil // it is of no interest
		}
	}
	wishes, p := q.wishes(users)
	if p != nil {
		return answer{}, p
	}
	return h.assign(ctx, q, wishes, func(b *assignment.Book) ([]assignment.Record, error) {
		return b.Remove(q.host, wishes)
	})
}

// assign makes a change, tells the other pods, and names the users.
func (h *Handler) assign(
	ctx context.Context, q question, wishes []assignment.Wish, change func(b *assignment.Book) ([]assignment.Record, error),
) (answer, *problem) {
	records, err := h.app.hub.assignments.change(change)
	if err != nil {
		return answer{}, problemAssignment(err)
	}
	truth := h.app.hub.spread(ctx, q, records)
	body := append([]byte(nil), `{"users":[`...)
	for i := range wishes {
		if i > 0 {
			body = append(body, ',')
		}
		body = wire.AppendString(body, wishes[i].User)
	}
	return answer{body: append(body, "]}"...), truth: &truth, status: http.StatusCreated}, nil
}

func problemAssignment(err error) *problem {
	switch {
	case errors.Is(err, assignment.ErrTooManyChannels):
		return &problem{status: http.StatusBadRequest, code: "too_many_channels", detail: err.Error()}
	case errors.Is(err, assignment.ErrTooMany):
		return &problem{status: http.StatusBadRequest, code: "too_many_assignments", detail: err.Error()}
	}
	return &problem{
		status: http.StatusServiceUnavailable, code: "unavailable",
		detail: "assignments cannot be kept now, and nothing was changed: the log of the server says why",
		retry:  assignmentsEvery,
	}
}

func readAssignedUsers(q question) ([]assignedUser, *problem) {
	var users []assignedUser
	if err := json.Unmarshal(q.body["users"], &users); err != nil || users == nil {
		return nil, problemValue(`users must be an array of {"id", "channels": [{"name", "mode"}]}`)
	}
	if len(users) > maxAssignedUsers {
		return nil, problemValue("users has more than %d elements", maxAssignedUsers)
	}
	return users, nil
}

// wishes says the same in the words of the book.
func (q question) wishes(users []assignedUser) ([]assignment.Wish, *problem) {
	wishes := make([]assignment.Wish, len(users))
	for i, u := range users {
		if u.ID == nil || *u.ID == "" || !validUser(&presence.User{ID: *u.ID}) {
			return nil, problemValue("users[%d].id must be plain text of 1 to %d bytes", i, maxUserID)
		}
		wishes[i].User = *u.ID
		if !u.Channels.given {
			continue
		}
		wishes[i].Channels = make([]assignment.Assignment, len(u.Channels.list))
		for j, c := range u.Channels.list {
			if c.Name == nil {
				return nil, problemValue("users[%d].channels[%d].name must be a string", i, j)
			}
			mode := ""
			if c.Mode != nil {
				mode = *c.Mode
			}
			m, err := assignment.ParseMode(mode)
			if err != nil || c.Mode != nil && mode == "" {
				return nil, problemValue("users[%d].channels[%d].mode must be ignore, listen or receive", i, j)
			}
			wishes[i].Channels[j] = assignment.Assignment{Channel: *c.Name, Mode: m}
		}
	}
	return wishes, nil
}

// assignable tells whether users can be assigned to all of the channels.
func (q question) assignable(wishes []assignment.Wish) *problem {
	known := make(map[string]bool)
	for i, w := range wishes {
		if w.Channels == nil {
			return problemValue("users[%d].channels must be an array", i)
		}
		for j, a := range w.Channels {
			if known[a.Channel] {
				continue
			}
			known[a.Channel] = true
			err := q.site.rules().Assignable(q.host, a.Channel)
			switch {
			case err == nil:
			case errors.Is(err, presence.ErrUnavailable):
				return problemPlugin()
			default:
				return &problem{
					status: http.StatusBadRequest, code: "bad_channel", channel: a.Channel,
					detail: fmt.Sprintf("users[%d].channels[%d]: %s", i, j, err),
				}
			}
		}
	}
	return nil
}
