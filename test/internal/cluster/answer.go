package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rollcall-gateway/rollcall/internal/model"
	"github.com/rollcall-gateway/rollcall/test/internal/ws"
)

// Types of the model, under short names.
type (
	Pod        = model.Pod
	Shape      = model.Shape
	DataCenter = model.DataCenter
)

// Answer is an answer of a pod to /message/allusers.
type Answer struct {
	Shape
	DCs      map[string]DataCenter
	Complete bool
	Missing  []string // as DC/POD
	// Asked and Answered are when the request was sent and when the answer was received.
	Asked, Answered time.Time
}

// AllUsers asks a site. It returns an error for an answer that contradicts itself.
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
	if a.DCs, err = model.ParseAllUsers([]byte(got.Body), shape); err != nil {
		return a, fmt.Errorf("%w in %.500s", err, got.Body)
	}
	return a, a.parseCompleteness(got.Header)
}

// ErrNoAnswer is returned for a pod that does not answer, or answers with an HTTP error.
var ErrNoAnswer = errors.New("no answer")

// parseCompleteness parses the headers about completeness.
func (a *Answer) parseCompleteness(h http.Header) error {
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

// Check returns an error unless the answer is complete and equals the model's.
func (a *Answer) Check(m *model.Model) error {
	if !a.Complete {
		return fmt.Errorf("%+v is incomplete, %q are missing", a.Shape, a.Missing)
	}
	if err := model.Compare(a.DCs, m.AllUsers(a.Shape)); err != nil {
		return fmt.Errorf("%+v: %w", a.Shape, err)
	}
	return nil
}

func byID(a, b ws.User) int { return strings.Compare(a.ID, b.ID) }
