package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Pod is the name of one process of a deployment.
type Pod struct{ DC, Name string }

// String returns the pod as the header Rollcall-Missing has it.
func (p Pod) String() string { return p.DC + "/" + p.Name }

// Shape is one of the questions that /message/allusers answers.
type Shape struct{ Include, Raw bool }

// Shapes are all of them.
var Shapes = [...]Shape{{}, {Include: true}, {Raw: true}, {Include: true, Raw: true}}

// Body returns the question as a request body.
func (s Shape) Body() string {
	return fmt.Sprintf(`{"includeUsers":%v,"dedupeUsers":%v}`, s.Include, !s.Raw)
}

// DataCenter is what an answer says of one.
type DataCenter struct {
	Authenticated int
	Anonymous     int
	Users         []ws.User // in the order of the IDs; nil unless asked for
}

// Answer is what a pod answered to /message/allusers.
type Answer struct {
	Shape
	DCs      map[string]DataCenter
	Complete bool
	Missing  []string // as DC/POD
	// Asked and Answered are when the request was sent and the answer was there.
	Asked, Answered time.Time
}

// AllUsers asks a site. An answer that contradicts itself is an error.
func AllUsers(s ws.Site, shape Shape) (Answer, error) {
	a := Answer{Shape: shape, Asked: time.Now()}
	got, err := s.Do(http.MethodPost, "/message/allusers", shape.Body(), "Content-Type", "application/json", "X-Api-Key", s.Key)
	if err != nil {
		return a, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	a.Answered = time.Now()
	if got.Status != http.StatusOK {
		return a, fmt.Errorf("%w: status %d: %s", ErrNoAnswer, got.Status, got.Body)
	}
	if err := a.decode(got.Body); err != nil {
		return a, fmt.Errorf("%w in %.500s", err, got.Body)
	}
	return a, a.truth(got.Header)
}

// ErrNoAnswer is returned for a pod that does not answer, or with an HTTP error.
var ErrNoAnswer = errors.New("no answer")

// truth reads what the headers say.
func (a *Answer) truth(h http.Header) error {
	switch h.Get("Rollcall-Complete") {
	case "true":
		a.Complete = true
	case "false":
	default:
		return fmt.Errorf("the header Rollcall-Complete is %q", h.Values("Rollcall-Complete"))
	}
	for _, list := range h.Values("Rollcall-Missing") {
		for name := range strings.SplitSeq(list, ",") {
			a.Missing = append(a.Missing, strings.TrimSpace(name))
		}
	}
	if a.Complete && len(a.Missing) > 0 {
		return fmt.Errorf("the answer is complete, and %q are missing", a.Missing)
	}
	return nil
}

// decode reads the body.
func (a *Answer) decode(body string) error {
	var raw map[string]struct {
		Authenticated      json.RawMessage
		AuthenticatedCount *int
		Anonymous          int
	}
	if err := json.Unmarshal([]byte(body), &raw); err != nil {
		return err
	}
	const totalKey = "_total"
	sum, total := DataCenter{}, DataCenter{Authenticated: -1}
	a.DCs = make(map[string]DataCenter, len(raw))
	for name, entry := range raw {
		dc := DataCenter{Anonymous: entry.Anonymous}
		var err error
		if a.Include && name != totalKey {
			err = json.Unmarshal(entry.Authenticated, &dc.Users)
			dc.Authenticated = len(dc.Users)
			if err == nil && (dc.Users == nil || entry.AuthenticatedCount == nil || *entry.AuthenticatedCount != len(dc.Users)) {
				err = errors.New("authenticatedCount is not that of the users")
			}
		} else {
			err = json.Unmarshal(entry.Authenticated, &dc.Authenticated)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		slices.SortFunc(dc.Users, byID)
		if name == totalKey {
			total = dc
			continue
		}
		sum.Authenticated += dc.Authenticated
		sum.Anonymous += dc.Anonymous
		a.DCs[name] = dc
	}
	if total.Authenticated != sum.Authenticated || total.Anonymous != sum.Anonymous {
		return errors.New("_total is not the sum")
	}
	return nil
}

func byID(a, b ws.User) int { return strings.Compare(a.ID, b.ID) }
