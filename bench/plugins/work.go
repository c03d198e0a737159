package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/rollcall-gateway/rollcall/plugins"
)

// host is the host of all requests.
const host = "portal.example.com"

// decisions are the decisions that every guest must make, in the bits of the contract. The first
// one is timed.
var decisions = []struct {
	channel string
	bits    uint64
}{
	{"lobby-of-the-blue-team", 2},
	{"staff-room", 1 | 1<<8},
	{"room-1", 0},
	{"lobb", 0},
}

const timedChannel, timedBits = "lobby-of-the-blue-team", 2

// appendRequest appends a request in the contract's encoding.
func appendRequest(to []byte, channel string) []byte {
	header := [16]byte{0: 1, 1: byte(plugins.Authenticated)}
	binary.LittleEndian.PutUint16(header[4:], uint16(len(host)))
	binary.LittleEndian.PutUint16(header[6:], uint16(len(channel)))
	to = append(to, header[:]...)
	to = append(to, host...)
	return append(to, channel...)
}

// user is an entry of an answer.
type user struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// userAt returns the i-th user of a crowd.
func userAt(i int) user {
	return user{ID: fmt.Sprintf("USER_%06d", i), Email: fmt.Sprintf("somebody.%d@example.com", i)}
}

func (u user) masked() user {
	_, domain, _ := strings.Cut(u.Email, "@")
	return user{ID: u.ID, Email: u.Email[:1] + "***@" + domain}
}

// crowd is n users in one channel, as an answer of /message/users, with the expected result.
type crowd struct {
	users  []user
	body   []byte
	masked map[string][]user
}

func newCrowd(n int) (*crowd, error) {
	c := &crowd{users: make([]user, n)}
	masked := make([]user, n)
	for i := range c.users {
		c.users[i] = userAt(i)
		masked[i] = c.users[i].masked()
	}
	c.masked = map[string][]user{"room": masked}
	var err error
	c.body, err = json.Marshal(map[string][]user{"room": c.users})
	return c, err
}

// check compares an answer with the expected one.
func (c *crowd) check(answer []byte) error {
	var got map[string][]user
	if err := json.Unmarshal(answer, &got); err != nil {
		return fmt.Errorf("the answer is no JSON: %w: %.200s", err, answer)
	}
	if !reflect.DeepEqual(got, c.masked) {
		return fmt.Errorf("the answer is wrong: %.200s", answer)
	}
	return nil
}

// batches returns the users as records of the contract, in batches of 256.
func (c *crowd) batches() [][]byte {
	const most = 256
	var all [][]byte
	field := func(to []byte, key, value string) []byte {
		to = append(append(to, byte(len(key))), key...)
		to = binary.LittleEndian.AppendUint32(append(to, 1), uint32(len(value)))
		return append(to, value...)
	}
	for i, u := range c.users {
		if i%most == 0 {
			all = append(all, nil)
		}
		record := field(field(nil, "id", u.ID), "email", u.Email)
		last := len(all) - 1
		all[last] = append(binary.LittleEndian.AppendUint32(all[last], uint32(len(record))), record...)
	}
	return all
}
