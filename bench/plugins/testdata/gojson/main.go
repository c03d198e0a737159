// The Go guest that masks e-mail addresses in the whole answer, with encoding/json.
package main

import (
	"encoding/json"
	"strings"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/shape"
)

type user struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

func init() {
	shape.Handle(mask)
}

func mask(_ rollcall.Endpoint, body []byte) ([]byte, error) {
	var channels map[string][]user
	if err := json.Unmarshal(body, &channels); err != nil {
		return nil, err
	}
	for _, users := range channels {
		for i, u := range users {
			name, domain, _ := strings.Cut(u.Email, "@")
			users[i].Email = name[:1] + "***@" + domain
		}
	}
	return json.Marshal(channels)
}

func main() {}
