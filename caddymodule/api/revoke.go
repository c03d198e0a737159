package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rollcall-gateway/rollcall/caddymodule/assign"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// revocation says which tokens of users a disconnect revokes.
type revocation struct {
	wanted       bool
	issuedBefore int64 // Unix seconds; 0: all until now
}

// readRevocation reads which tokens to revoke. byUsers says whether the request names users.
func (s *Server) readRevocation(q request, byUsers bool) (r revocation, p *problem.Problem) {
	if r.wanted, p = q.body.flag("revoke", false); p != nil {
		return r, p
	}
	_, before := q.body["issuedBefore"]
	switch {
	case r.wanted && !byUsers:
		return r, problem.BadValue("revoke needs users: send their IDs")
	case before && !r.wanted:
		return r, problem.BadValue("issuedBefore needs revoke: send it as true, or leave issuedBefore out")
	case !before:
		return r, nil
	}
	const want = "a whole number of seconds since 1970, up to now"
	if p := q.body.decode("issuedBefore", &r.issuedBefore, want); p != nil {
		return r, p
	}
	now := int64(s.Assignments.Book.Time()/1000 + uint64(assignment.Skew/time.Second))
	if r.issuedBefore < 1 || r.issuedBefore > now {
		return r, problem.BadValue("issuedBefore must be %s", want)
	}
	return r, nil
}

// defaultRevocation is how long a revocation lasts on a site without jwt. It has no effect there,
// but another pod may have another configuration.
const defaultRevocation = 24 * time.Hour

// revoke revokes tokens of users on all pods, before these are disconnected.
func (s *Server) revoke(ctx context.Context, q request, users []string, r revocation) (cluster.Truth, *problem.Problem) {
	lasts := q.site.Revocation
	if lasts == 0 {
		lasts = defaultRevocation
	}
	records, err := s.Assignments.Change(func(b *assignment.Book) ([]assignment.Record, error) {
		return b.Revoke(q.host, users, r.issuedBefore, lasts)
	})
	if err != nil {
		return cluster.Truth{}, problemRevocation(err)
	}
	return s.Spread(ctx, q.site, q.host, records), nil
}

// fullRetry is when a backend should retry whose host has too many revocations. They end by
// themselves.
const fullRetry = time.Minute

func problemRevocation(err error) *problem.Problem {
	p := &problem.Problem{
		Status: http.StatusServiceUnavailable, Code: "unavailable",
		Detail: "revocations cannot be saved now, and nothing was done: the server's log says why",
		Retry:  assign.RetryEvery,
	}
	if errors.Is(err, assignment.ErrTooManyValues) {
		p.Detail, p.Retry = "nothing was done: "+err.Error()+": wait until some have ended", fullRetry
	}
	return p
}
