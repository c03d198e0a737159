// The plugin of package guest's tests: it does what its input says.
package main

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	rollcall "github.com/rollcall-gateway/rollcall/plugins/sdk/go"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/authorize"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/classify"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/connect"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/kv"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/members"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/message"
	"github.com/rollcall-gateway/rollcall/plugins/sdk/go/shape"
)

func init() {
	rollcall.Configure(configure)
	classify.Handle(kind)
	authorize.Handle(func(r *rollcall.Request) authorize.Verdict {
		rollcall.Log(rollcall.Warn, tell(r))
		if r.UserID == "eve" {
			return authorize.Denied
		}
		return authorize.NoObjection
	})
	connect.Handle(enter)
	message.Handle(send)
	members.Handle(change)
	shape.Handle(answer)
}

func configure(c *rollcall.Config) error {
	line := []string{
		c.Host, c.Plugin, c.String("word", "none"), strings.Join(c.Strings("words"), "+"),
		strconv.FormatBool(c.Bool("flag", false)), strconv.FormatInt(c.Int("number", -1), 10),
		c.Block("inner").String("deep", "none"),
	}
	if c.Err() == nil {
		rollcall.Log(rollcall.Info, strings.Join(line, "|"))
	}
	return nil
}

var kept []string // texts of earlier calls, which must not change

func kind(r *rollcall.Request) rollcall.Decision {
	if len(kept) < 10_000 {
		kept = append(kept, r.Channel, strings.Clone(r.Channel))
	}
	words := strings.Split(r.Channel, "+")
	d := rollcall.NoOpinion
	switch words[0] {
	case "authenticated":
		d = rollcall.Authenticated
	case "anonymous":
		d = rollcall.Anonymous
	case "denied":
		d = rollcall.Denied
	case "fail":
		panic("asked to fail")
	case "flag":
		if r.NeedsGrant {
			d = d.Hidden()
		}
	case "kept":
		for i := 0; i < len(kept); i += 2 {
			if kept[i] != kept[i+1] {
				return rollcall.Denied
			}
		}
		return rollcall.Anonymous
	}
	for _, flag := range words[1:] {
		switch flag {
		case "hidden":
			d = d.Hidden()
		case "count":
			d = d.CountOnly()
		case "grant":
			d = d.NeedGrant()
		}
	}
	return d
}

func tell(r *rollcall.Request) string {
	who := "known"
	if r.Anonymous {
		who = "anonymous"
	}
	return strings.Join([]string{r.Host, r.Channel, strconv.Itoa(int(r.Site)), who, r.UserID, r.Email}, "|")
}

func enter(l *connect.Login) connect.Result {
	who := "known"
	if l.Anonymous {
		who = "anonymous"
	}
	role := l.Claims.Get("role").Text()
	rollcall.Log(rollcall.Info, strings.Join([]string{l.Host, l.Connection, who, l.UserID, l.Email, string(l.Info.JSON()), role}, "|"))
	switch l.UserID {
	case "eve":
		return connect.Refuse
	case "info":
		return connect.Accept.WithInfo(`{"role":"` + role + `"}`)
	case "null":
		return connect.Accept.WithInfo("null")
	case "open":
		return connect.Accept.WithChannels("news-*", `a"b`)
	case "both":
		return connect.Accept.WithInfo(`{"role":"`+role+`"}`).WithChannels("news-*", `a"b`)
	}
	return connect.Accept
}

func send(m *message.Message) message.Result {
	text := m.Text("text")
	switch m.Channel {
	case "get":
		value, ok := kv.Get(text)
		if !ok {
			value = []byte("none")
		}
		rollcall.Log(rollcall.Info, string(value))
	case "set":
		rollcall.Log(rollcall.Info, strconv.FormatBool(kv.Set(text, []byte(text+"!"), 1500*time.Millisecond)))
	case "short":
		kv.Set(text, []byte("short"), time.Millisecond/2)
	case "delete":
		kv.Delete(text)
	case "add":
		rollcall.Log(rollcall.Info, strconv.FormatInt(kv.Add(text, 1, time.Minute), 10))
	case "count":
		rollcall.Count(text, 2)
	case "replace":
		return m.WithText("text", text+"!")
	default:
		who := "known"
		if m.Anonymous {
			who = "anonymous"
		} else if m.Backend {
			who = "backend"
		}
		rollcall.Log(rollcall.Warn, strings.Join(
			[]string{m.Host, m.Channel, strconv.Itoa(int(m.Site)), who, m.UserID, m.Email, m.Connection, text}, "|"))
	}
	if m.Channel == "refuse" {
		return message.Refuse
	}
	return message.Send
}

func change(e rollcall.Endpoint, m *members.Member) {
	switch m.ID() {
	case "tell":
		rollcall.Log(rollcall.Info, strings.Join([]string{strconv.Itoa(int(e)), m.Info(), m.Status()}, "|"))
	case "hide":
		m.Hide()
	case "mask":
		m.Set("email", "***")
	case "rename":
		m.Rename("email", "mail")
	case "remove":
		m.Delete("email")
	case "add":
		m.SetJSON("level", "[3,null]")
	case "swap":
		m.Rename("email", "id")
	case "long":
		m.Set(strings.Repeat("k", 256), "value")
	default:
		m.Delete("none")
		m.Rename("none", "other")
	}
}

func answer(e rollcall.Endpoint, body []byte) ([]byte, error) {
	switch string(body) {
	case `"unchanged"`:
		return nil, nil
	case `"fail"`:
		return nil, errors.New("asked to fail")
	case `"request"`:
		return json.Marshal(string(rollcall.RequestBody()))
	case `"endpoint"`:
		return strconv.AppendInt(nil, int64(e), 10), nil
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func main() {}
