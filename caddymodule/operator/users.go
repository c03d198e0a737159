package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/caddymodule/site"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// Users is a page of the users of a channel or of a host, sorted by ID.
type Users struct {
	Host    string   `json:"host"`
	Channel *Channel `json:"channel,omitempty"` // nil for the users of the host
	Truth
	Users []User `json:"users"`
	Next  string `json:"next,omitempty"` // After of the next page; "" on the last one
}

// User is a user with a connection.
type User struct {
	// User is the object that the plugins of the site make of the user for /message/users, without
	// keys email, at any depth and in any spelling. Without plugins, it has the id.
	User        json.RawMessage `json:"user"`
	Since       string          `json:"since"` // start of the first of Connections, as RFC 3339 with milliseconds
	Connections []Connection    `json:"connections"`
}

// Connection is a connection of a user. Times are RFC 3339 with milliseconds.
type Connection struct {
	Connection string `json:"connection"` // ID
	DataCenter string `json:"data_center"`
	Pod        string `json:"pod"`
	Since      string `json:"since"`
	LastSign   string `json:"last_sign_of_life"` // time of the last bytes from the client
	// Channels and Hidden are the channels of the connection without its private one: the names of
	// those that listings have, and the number of the others. Only [Operator.User] sets them.
	Channels []string `json:"channels,omitempty"`
	Hidden   int      `json:"hidden,omitempty"`
}

// Users lists the users that listen to a channel, or all users of the host if channel is "": those
// whose IDs follow after, at most limit; [DefaultPage] if 0. A page can have fewer, because plugins
// leave users out. The users of a channel that only counts them are not listed. It returns
// ErrNoHost, ErrNoChannel and ErrPluginFailed.
func (o *Operator) Users(ctx context.Context, host presence.HostName, channel, after string, limit int) (Users, error) {
	of := o.pods.SiteOf(host)
	if of == nil {
		return Users{}, ErrNoHost
	}
	channels, list, next, truth := o.pods.AllListeners(ctx, host, presence.Listeners{Channel: channel, After: after, Limit: pageLimit(limit)})
	a := Users{Host: host.String(), Truth: truthOf(truth), Users: []User{}, Next: next}
	if channel != "" {
		if len(channels) == 0 {
			if !truth.Complete {
				return Users{}, fmt.Errorf("%w on the pods that replied", ErrNoChannel)
			}
			return Users{}, ErrNoChannel
		}
		c := channelOf(&channels[0])
		for i := range channels[1:] {
			c.Count += channels[i+1].Count
		}
		if len(channels) > 1 && c.Kind == presence.Authenticated.String() { // the sum has users on several pods more than once
			of, _, known := o.pods.AllChannels(ctx, host, presence.Page{Prefix: channel, Limit: 1})
			if len(of) == 1 && of[0].Channel == channel {
				c = channelOf(&of[0])
			}
			a.Truth = truthOf(truth.And(known))
		}
		a.Channel = &c
	}
	var users []presence.User
	for i := range list {
		l := &list[i]
		if n := len(users); n == 0 || users[n-1].ID != l.User {
			users = append(users, presence.User{ID: l.User, Email: l.Email})
			a.Users = append(a.Users, User{Since: RFC3339(l.Since)})
		}
		u := &a.Users[len(users)-1]
		conn := Connection{Connection: l.Conn.String(), DataCenter: l.DataCenter, Pod: l.Pod, Since: RFC3339(l.Since), LastSign: RFC3339(l.LastSign)}
		u.Since = min(u.Since, conn.Since)
		u.Connections = append(u.Connections, conn)
	}
	return a, show(ctx, of, host, users, &a)
}

// show sets what the plugins of the site make of the users, and removes those that they leave out.
func show(ctx context.Context, of *site.Site, host presence.HostName, users []presence.User, a *Users) error {
	objects, err := shown(ctx, of, host, users)
	if err != nil {
		return err
	}
	kept := a.Users[:0]
	for i, object := range objects {
		if object == nil {
			continue
		}
		a.Users[i].User = object
		kept = append(kept, a.Users[i])
	}
	a.Users = kept
	return nil
}

// shown returns the object of each user for operators; nil for a user that the plugins leave out.
func shown(ctx context.Context, of *site.Site, host presence.HostName, users []presence.User) ([]json.RawMessage, error) {
	objects := make([]json.RawMessage, len(users))
	a := answer.NewPlugins(ctx, of.Chain, plugins.EndpointUsers, host.String(), func() []byte { return []byte("{}") })
	if a == nil || !a.HasMembers() {
		for i := range users {
			objects[i], _ = json.Marshal(map[string]string{"id": users[i].ID}) // never fails for strings
		}
		return objects, nil
	}
	made := a.Members(users)
	if a.Err() != nil {
		return nil, ErrPluginFailed
	}
	for i, object := range made {
		if object != nil {
			objects[i] = withoutEmail(object)
		}
	}
	return objects, nil
}

// withoutEmail returns a JSON object without keys email, at any depth and in any spelling. An
// object that cannot be decoded becomes an empty one.
func withoutEmail(object []byte) json.RawMessage {
	var keys map[string]any // decoded once: one level after the other would take the square of the depth
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()       // other numbers lose digits
	_ = d.Decode(&keys) // keys stays nil
	deleteEmail(keys)
	rest, err := json.Marshal(keys)
	if err != nil || keys == nil {
		return json.RawMessage("{}")
	}
	return rest
}

// deleteEmail deletes the keys email of all objects in a decoded value.
func deleteEmail(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if isEmail(key) {
				delete(v, key)
				continue
			}
			deleteEmail(inner)
		}
	case []any:
		for _, inner := range v {
			deleteEmail(inner)
		}
	}
}

// isEmail reports whether a key is that of an e-mail address. Identity providers have their own
// spelling, like Email, mail or e-mail_address.
func isEmail(key string) bool {
	key = strings.ToLower(separators.Replace(key))
	return key == "email" || key == "mail" || key == "emailaddress"
}

var separators = strings.NewReplacer("-", "", "_", "", " ", "")

// Found is why a user is listed.
type Found struct {
	Host string `json:"host"`
	Truth
	User *User `json:"user"` // nil if the user has no connection, or the plugins leave it out
}

// User returns the connections of the user with the ID on all pods. It returns ErrNoHost and
// ErrPluginFailed.
func (o *Operator) User(ctx context.Context, host presence.HostName, id string) (Found, error) {
	of := o.pods.SiteOf(host)
	if of == nil {
		return Found{}, ErrNoHost
	}
	conns, truth := o.pods.ExplainAll(ctx, host, id)
	f := Found{Host: host.String(), Truth: truthOf(truth)}
	if len(conns) == 0 {
		return f, nil
	}
	who := presence.User{ID: id}
	found := User{Since: RFC3339(conns[0].Since)}
	for i := range conns {
		c := connectionOf(of, host, &conns[i])
		found.Since = min(found.Since, c.Since)
		found.Connections = append(found.Connections, c)
		if who.Email == "" {
			who.Email = conns[i].Email
		}
	}
	objects, err := shown(ctx, of, host, []presence.User{who})
	if err != nil {
		return Found{}, err
	}
	if found.User = objects[0]; found.User != nil {
		f.User = &found
	}
	return f, nil
}

// connectionOf returns what an operator sees of a connection. A channel whose class is not known
// counts as hidden.
func connectionOf(of *site.Site, host presence.HostName, p *cluster.PodConnection) Connection {
	c := Connection{
		Connection: p.ID, DataCenter: p.DataCenter, Pod: p.Pod, Since: RFC3339(p.Since), LastSign: RFC3339(p.LastSign), Channels: []string{},
	}
	classifier := of.Rules().Classifier
	if classifier == nil {
		classifier = presence.Patterns{}
	}
	for _, name := range p.Channels {
		if class, err := classifier.Classify(host, name); err != nil || class.Hidden {
			c.Hidden++
			continue
		}
		c.Channels = append(c.Channels, name)
	}
	return c
}
