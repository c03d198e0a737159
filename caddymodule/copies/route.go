package copies

import (
	"slices"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/backend"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

// copyingModes are the modes in which the backend gets a copy.
var copyingModes = map[assignment.Mode]backend.Mode{assignment.Listen: backend.Listen, assignment.Receive: backend.Receive}

// Split returns the channels whose listeners get a message of a user, and the copies for the
// backend: one for each channel to which the user is assigned in a mode that copies.
func Split(
	channels []string, modeOf func(channel string) assignment.Mode, message []byte, user presence.User, from presence.ID,
) (listened []string, copies []backend.Message) {
	copied := func(channel string) bool { return copyingModes[modeOf(channel)] != "" }
	if !slices.ContainsFunc(channels, copied) {
		return channels, nil
	}
	for i, channel := range channels {
		if slices.Contains(channels[:i], channel) {
			continue
		}
		mode := modeOf(channel)
		if mode != assignment.Receive {
			listened = append(listened, channel)
		}
		if copyingModes[mode] != "" {
			copies = append(copies, backend.Message{
				Channel: channel, Mode: copyingModes[mode], Message: message, Sent: time.Now(),
				From: &presence.User{ID: user.ID, Email: user.Email}, Connection: from,
			})
		}
	}
	return listened, copies
}
