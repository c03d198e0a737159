package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// member is a user as answers show them.
type member struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// userOf is a user by number.
func userOf(n int) member {
	return member{fmt.Sprintf("00000000-0000-4000-8000-%012d", n), fmt.Sprintf("first.last.%08d@portal.example.com", n)}
}

// state is what the connections of a worker are and have joined, and how many messages came to them.
type state struct {
	Connections int
	Anonymous   int
	Users       map[string]int    // connections by the user's ID
	Channels    map[string]string // what an answer says of each, as text
	Listeners   map[string]int    // connections by channel, without private ones
	Messages    int
}

// newState adds up the sockets.
func newState(sockets []*socket, messages int) state {
	s := state{
		Connections: len(sockets), Messages: messages,
		Users: make(map[string]int), Channels: make(map[string]string), Listeners: make(map[string]int),
	}
	rooms := make(map[string][]member)
	for _, socket := range sockets {
		private := "1"
		if socket.user == nil {
			s.Anonymous++
		} else {
			s.Users[socket.user.ID]++
			private = textOfUser(*socket.user)
		}
		s.Channels[`tab|`+socket.id] = private
		for _, channel := range socket.channels {
			s.Listeners[channel]++
			if !anonymous(channel) {
				rooms[channel] = append(rooms[channel], *socket.user)
			}
		}
	}
	for channel, n := range s.Listeners {
		s.Channels[channel] = strconv.Itoa(n)
		if users, listed := rooms[channel]; listed {
			s.Channels[channel] = textOfUsers(users)
		}
	}
	return s
}

// anonymous says whether a channel is listed as a number, as Rollcall does by default.
func anonymous(channel string) bool { return strings.HasPrefix(channel, "anonymous") }

// The texts that stand for values of an answer. The order of users is none that anybody promises.
func textOfUser(u member) string { return u.ID + " " + u.Email }

func textOfUsers(users []member) string {
	lines := make([]string, len(users))
	for i, u := range users {
		lines[i] = textOfUser(u)
	}
	slices.Sort(lines)
	return "[" + strings.Join(slices.Compact(lines), ", ") + "]"
}

// parseUsers makes texts of an answer of /message/users. A user who is listed twice is an error.
func parseUsers(body []byte) (map[string]string, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(body, &values); err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	channels := make(map[string]string, len(values))
	for channel, value := range values {
		switch value[0] {
		case '[':
			var users []member
			if err := json.Unmarshal(value, &users); err != nil {
				return nil, fmt.Errorf("users of %s: %w", channel, err)
			}
			text := textOfUsers(users)
			if distinct := strings.Count(text, ",") + 1; distinct != len(users) {
				return nil, fmt.Errorf("users of %s: %d entries for %d users", channel, len(users), distinct)
			}
			channels[channel] = text
		case '{':
			var user member
			if err := json.Unmarshal(value, &user); err != nil {
				return nil, fmt.Errorf("user of %s: %w", channel, err)
			}
			channels[channel] = textOfUser(user)
		default:
			channels[channel] = string(value)
		}
	}
	return channels, nil
}

// differ names some of what is not as it should be.
func differ(got, want map[string]string) error {
	const most = 5
	var errs []error
	for channel, value := range want {
		if got[channel] != value && len(errs) < most {
			errs = append(errs, fmt.Errorf("%s is %.300q, want %.300q", channel, got[channel], value))
		}
	}
	for channel, value := range got {
		if _, known := want[channel]; !known && len(errs) < 2*most {
			errs = append(errs, fmt.Errorf("%s is %.300q, want none", channel, value))
		}
	}
	return errors.Join(errs...)
}

// center is the value of a data center in an answer of /message/allusers with users.
type center struct {
	Authenticated      []member `json:"authenticated"`
	AuthenticatedCount int      `json:"authenticatedCount"`
	Anonymous          int      `json:"anonymous"`
}

// compareAll holds an answer of /message/allusers with users to the states of all workers.
func compareAll(body []byte, states []state) error {
	var answer struct {
		Center center `json:"soak"`
		Total  struct {
			Authenticated int `json:"authenticated"`
			Anonymous     int `json:"anonymous"`
		} `json:"_total"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("allusers: %w", err)
	}
	users, anonymous := make(map[string]int), 0
	for _, s := range states {
		anonymous += s.Anonymous
		maps.Copy(users, s.Users)
	}
	c := answer.Center
	if c.Anonymous != anonymous || c.AuthenticatedCount != len(users) || len(c.Authenticated) != len(users) ||
		answer.Total.Anonymous != anonymous || answer.Total.Authenticated != len(users) {
		return fmt.Errorf("allusers: %d users (%d listed) and %d anonymous, in total %v, want %d and %d",
			c.AuthenticatedCount, len(c.Authenticated), c.Anonymous, answer.Total, len(users), anonymous)
	}
	for _, u := range c.Authenticated {
		if users[u.ID] == 0 {
			return fmt.Errorf("allusers: %s is not connected, or listed twice", u.ID)
		}
		delete(users, u.ID)
	}
	return nil
}
