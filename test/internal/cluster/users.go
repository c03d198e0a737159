package cluster

import (
	"fmt"
	"net/http"

	"github.com/rollcall-gateway/rollcall/internal/model"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Users asks /message/users and returns the answer in the form of [model.Model.Users]. The answer
// must be complete.
func Users(s ws.Site, scope string) (map[string]any, error) {
	got, err := s.Do(http.MethodPost, "/message/users", fmt.Sprintf(`{"scope":%q}`, scope), "X-Api-Key", s.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	if got.Status != http.StatusOK || got.Header.Get("Rollcall-Complete") != "true" {
		return nil, fmt.Errorf("status %d, missing %q: %s", got.Status, got.Header.Get("Rollcall-Missing"), got.Body)
	}
	answer, err := model.ParseUsers([]byte(got.Body))
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, got.Body)
	}
	return answer, nil
}
