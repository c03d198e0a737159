package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Users asks /message/users and returns the answer in the form of [Model.Users]. It must be complete.
func Users(s ws.Site, scope string) (map[string]any, error) {
	got, err := s.Do(http.MethodPost, "/message/users", fmt.Sprintf(`{"scope":%q}`, scope), "X-Api-Key", s.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	if got.Status != http.StatusOK || got.Header.Get("Rollcall-Complete") != "true" {
		return nil, fmt.Errorf("status %d, missing %q: %s", got.Status, got.Header.Get("Rollcall-Missing"), got.Body)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(got.Body), &raw); err != nil {
		return nil, fmt.Errorf("%w in %s", err, got.Body)
	}
	answer := make(map[string]any, len(raw))
	for channel, value := range raw {
		var to any
		switch value[0] {
		case '[':
			users := []ws.User{}
			err = json.Unmarshal(value, &users)
			slices.SortFunc(users, byID)
			to = users
		case '{':
			var user ws.User
			err = json.Unmarshal(value, &user)
			to = user
		default:
			var n float64
			err = json.Unmarshal(value, &n)
			to = n
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w in %s", channel, err, got.Body)
		}
		answer[channel] = to
	}
	return answer, nil
}
