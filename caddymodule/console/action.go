package console

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/rollcall-gateway/rollcall/caddymodule/api"
	"github.com/rollcall-gateway/rollcall/caddymodule/problem"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/presence"
)

// maxAction is the largest body of an action, in bytes: that of a message, and names.
const maxAction = 128 << 10

// action is what an operator does. Which fields there are depends on Action.
type action struct {
	Action      string          `json:"action"` // disconnect, leave, send or reset
	Host        string          `json:"host"`
	Users       []string        `json:"users,omitempty"`
	Connections []string        `json:"connections,omitempty"`
	Channel     string          `json:"channel,omitempty"`
	Message     json.RawMessage `json:"message,omitempty"`
	Plugin      string          `json:"plugin,omitempty"`
}

// foreign is the answer to a page of another origin.
func foreign() *problem.Problem {
	return &problem.Problem{
		Status: http.StatusForbidden, Code: "bad_origin", Detail: "only the console's own page may do this",
	}
}

// serveAction carries out an action. Only the page itself may ask for it: a form or an image of
// another page has no JSON, and its script no such Origin.
func (s *Server) serveAction(w http.ResponseWriter, r *http.Request, v Visit) {
	if r.Method != http.MethodPost {
		problem.MethodNotAllowed("POST").Write(w)
		return
	}
	a, p := s.readAction(w, r, &v)
	if p != nil {
		p.Write(w)
		return
	}
	result, p := s.act(r, &v, a)
	if p != nil {
		p.Write(w)
		return
	}
	body, _ := json.Marshal(result) // never fails: the answer is JSON already
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // if it fails, the client is gone
}

func (s *Server) readAction(w http.ResponseWriter, r *http.Request, v *Visit) (a action, p *problem.Problem) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if !site.IsSameOrigin(r, v.Secure) || err != nil || kind != "application/json" {
		return a, foreign()
	}
	if s.cfg.Draining() {
		return a, problem.Draining()
	}
	arrived := api.LimitTime(w, r)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAction+1))
	if err != nil {
		return a, problem.BadValue("the body did not arrive completely")
	}
	if len(body) > maxAction {
		return a, problem.BadValue("the body has over %d KiB", maxAction>>10)
	}
	arrived()
	if v.hasEnded() {
		return a, problem.Reloaded() // the body may have taken its time
	}
	if json.Unmarshal(body, &a) != nil {
		return a, problem.BadValue("the body is not an action")
	}
	if a.Action == "reset" {
		return a, s.mayReset(v, a.Plugin, a.Host)
	}
	host, err := presence.ParseHostName(a.Host)
	if err != nil || !v.Sees(host) {
		return a, noHost()
	}
	return a, nil
}

func noHost() *problem.Problem {
	return &problem.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "this console shows no such host"}
}

// done is the answer to an action.
type done struct {
	Complete bool            `json:"complete"`
	Missing  []string        `json:"missing"`
	Answer   json.RawMessage `json:"answer,omitempty"`
}

// act carries out an action. Package operator checks its values as the endpoints do, and logs it.
func (s *Server) act(r *http.Request, v *Visit, a action) (done, *problem.Problem) {
	host, _ := presence.ParseHostName(a.Host) // checked; the host of a plugin is "" if it serves all
	var name string
	body := map[string]any{}
	add := func(key string, value any, present bool) {
		if present {
			body[key] = value
		}
	}
	add("users", a.Users, a.Users != nil)
	switch a.Action {
	case "reset":
		if err := s.cfg.Operator.ResetBreaker(v.by(), a.Plugin, a.Host); err != nil {
			return done{}, problem.BadValue("%s", err)
		}
		return done{Complete: true, Missing: []string{}}, nil
	case "disconnect":
		name = "disconnect"
		add("connections", a.Connections, a.Connections != nil)
		add("channel", a.Channel, a.Channel != "")
		add("reason", "disconnected by an operator", true)
	case "leave":
		name = "leave"
		add("connections", a.Connections, a.Connections != nil)
		add("channels", []string{a.Channel}, a.Channel != "")
	case "send":
		name = "sendmessage"
		add("channels", []string{a.Channel}, a.Channel != "")
		add("message", a.Message, true)
	default:
		return done{}, problem.BadValue("action must be disconnect, leave, send or reset")
	}
	text, err := json.Marshal(body)
	if err != nil {
		return done{}, problem.BadValue("message is not JSON")
	}
	result, err := s.cfg.Operator.Act(r.Context(), v.by(), host, name, text)
	if refused, ok := errors.AsType[*api.ActError](err); ok {
		return done{}, refused.Problem
	}
	if err != nil {
		return done{}, noHost()
	}
	return done{result.Complete, append([]string{}, result.Missing...), result.Answer}, nil
}
