package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
)

// Parameters of sample calls, which the command check makes, and each load of a plugin.
const (
	sampleChannel = "sample"
	sampleMessage = `{"text":"a sample"}`
	sampleUsers   = 256 // one full batch
	// sampleTimeout is the limit of a sample call at a load, in addition to the timeout of its
	// hook.
	sampleTimeout = time.Second
)

// SampleConnection is the ID of a connection that does not exist.
const SampleConnection = "AAAAAAAAAAAAAAAAAAAAAA"

// Samples are calls that every plugin with the hook must be able to answer.
var Samples = []struct {
	Hook   plugins.Hook
	About  string
	Budget func(plugins.Limits) int64
	Call   func(ctx context.Context, c *plugins.Chain, host string) error
}{
	{
		Hook:   plugins.HookClassify,
		About:  fmt.Sprintf("channel %q", sampleChannel),
		Budget: func(l plugins.Limits) int64 { return l.ClassifyBudget },
		Call: func(_ context.Context, c *plugins.Chain, host string) error {
			_, err := c.Classify(host, sampleChannel, plugins.Authenticated)
			return err
		},
	},
	{
		Hook:   plugins.HookAuthorize,
		About:  fmt.Sprintf("channel %q and one user", sampleChannel),
		Budget: func(l plugins.Limits) int64 { return l.ClassifyBudget },
		Call: func(_ context.Context, c *plugins.Chain, host string) error {
			_, err := c.Authorize(host, sampleChannel, plugins.Authenticated, &samplePeople(1)[0])
			return err
		},
	},
	{
		Hook:   plugins.HookMembers,
		About:  fmt.Sprintf("%d users", sampleUsers),
		Budget: func(l plugins.Limits) int64 { return 1_000_000 + sampleUsers*l.MembersBudget },
		Call: func(ctx context.Context, c *plugins.Chain, host string) error {
			request := []byte(`{"channel":"` + sampleChannel + `"}`)
			return PassMembers(c.Members(ctx, plugins.EndpointUsers, host, request, EachUser(samplePeople(sampleUsers))), func([]byte) {})
		},
	},
	{
		Hook:   plugins.HookMembersLive,
		About:  fmt.Sprintf("%d users", sampleUsers),
		Budget: func(l plugins.Limits) int64 { return 1_000_000 + sampleUsers*l.MembersBudget },
		Call: func(_ context.Context, c *plugins.Chain, host string) error {
			people := samplePeople(sampleUsers)
			for i := range people {
				people[i].Info, people[i].Status = `{"name":"Sample"}`, `{"away":true}`
			}
			_, err := c.Show(plugins.EndpointLive, host, []string{"email", "info", "status"}, people)
			return err
		},
	},
	{
		Hook:   plugins.HookConnect,
		About:  "the login of one user",
		Budget: func(l plugins.Limits) int64 { return l.ConnectBudget },
		Call: func(_ context.Context, c *plugins.Chain, host string) error {
			user := samplePeople(1)[0]
			user.Info = `{"name":"Sample"}`
			_, err := c.Connect(host, plugins.Login{
				ID: SampleConnection, User: &user, Claims: `{"sub":"` + user.ID + `","email":"` + user.Email + `","info":{"name":"Sample"}}`,
			})
			return unlessRefused(err)
		},
	},
	{
		Hook:   plugins.HookMessage,
		About:  fmt.Sprintf("channel %q and the message %s", sampleChannel, sampleMessage),
		Budget: func(l plugins.Limits) int64 { return l.MessageBudget + 100*int64(len(sampleMessage)) },
		Call: func(_ context.Context, c *plugins.Chain, host string) error {
			from := plugins.Sender{User: &samplePeople(1)[0], Connection: SampleConnection}
			_, err := c.Message(host, sampleChannel, plugins.Authenticated, from, []byte(sampleMessage), presence.MaxMessage)
			return unlessRefused(err)
		},
	},
	{
		Hook:   plugins.HookShape,
		About:  fmt.Sprintf("an answer of /message/users with %d users", sampleUsers),
		Budget: func(l plugins.Limits) int64 { return l.ShapeBudget },
		Call: func(ctx context.Context, c *plugins.Chain, host string) error {
			list := make([]presence.User, 0, sampleUsers)
			for _, u := range samplePeople(sampleUsers) {
				list = append(list, presence.User{ID: u.ID, Email: u.Email})
			}
			answer := wire.AppendUsers([]byte(`{"`+sampleChannel+`":`), list)
			_, err := c.Shape(ctx, plugins.EndpointUsers, host, []byte("{}"), append(answer, '}'))
			return err
		},
	},
}

func samplePeople(n int) []plugins.User {
	people := make([]plugins.User, n)
	for i := range people {
		id := fmt.Sprintf("user-%03d", i+1)
		people[i] = plugins.User{ID: id, Email: id + "@example.com"}
	}
	return people
}

// EachUser returns an iterator over the users.
func EachUser(users []plugins.User) func() (plugins.User, bool) {
	return func() (u plugins.User, ok bool) {
		if len(users) == 0 {
			return u, false
		}
		u, users = users[0], users[1:]
		return u, true
	}
}

// PassMembers calls each with the object of every user, or with nil for a user that the plugin
// omits.
func PassMembers(m *plugins.Members, each func(object []byte)) error {
	for {
		object, err := m.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(object)
	}
}

// runSamples makes the sample calls of a loaded plugin until the context ends, and logs the first
// failure. It returns no error, because a failure can be intended.
func (s *Set) runSamples(ctx context.Context, p *plugins.Plugin, host string) {
	err := p.Rehearse(sampleTimeout, func(p *plugins.Plugin) error {
		if err := p.Try(ctx, host); err != nil {
			return unlessUnrelated(err, plugins.ReasonMemory)
		}
		c := plugins.NewChain(p)
		for _, sample := range Samples {
			if !p.Hooks().Has(sample.Hook) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := unlessUnrelated(sample.Call(ctx, c, host), plugins.ReasonTooLarge); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		s.Logger.Warn("plugin loaded, but a sample call fails: run caddy rollcall-plugin check",
			zap.String("plugin", p.Name()), zap.String("file", p.Path()), zap.Error(err))
	}
}

// unlessRefused returns nil for a refusal, which is no failure, and otherwise err.
func unlessRefused(err error) error {
	if errors.Is(err, plugins.ErrRefused) {
		return nil
	}
	return err
}

// unlessUnrelated returns nil for a failure whose reason does not depend on the plugin, and
// otherwise err.
func unlessUnrelated(err error, reason plugins.Reason) error {
	if failure, ok := errors.AsType[*plugins.Error](err); ok && failure.Reason == reason {
		return nil
	}
	return err
}
