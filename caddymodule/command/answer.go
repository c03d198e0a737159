package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/rollcall-gateway/rollcall/caddymodule/answer"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// readListings parses an answer of /message/users without plugins. It also returns the number of
// users in it.
func readListings(raw []byte) (list []presence.Listing, users int, err error) {
	fields, err := objectFields(raw)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range fields {
		l := presence.Listing{Channel: f.key}
		switch f.value[0] {
		case '[':
			l.Kind = presence.Authenticated
			if l.Users, err = answerUsers(f); err != nil {
				return nil, 0, err
			}
		case '{': // a private channel with a user
			user, err := answerUser(f.value)
			if err != nil {
				return nil, 0, fmt.Errorf("channel %q: %w", f.key, err)
			}
			l.Kind, l.Users = presence.Private, []presence.User{user}
		default:
			l.Kind = presence.Anonymous
			if l.Count, err = strconv.Atoi(string(f.value)); err != nil {
				return nil, 0, fmt.Errorf("channel %q: neither a list of users, nor a user, nor a number", f.key)
			}
		}
		users += len(l.Users)
		list = append(list, l)
	}
	return list, users, nil
}

// readDataCenters parses an answer of /message/allusers without plugins, except for the sum. It
// also returns the number of users in it.
func readDataCenters(raw []byte) (dcs []answer.DataCenter, users int, err error) {
	fields, err := objectFields(raw)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range fields {
		members, err := objectFields(f.value)
		switch {
		case err != nil && f.key == cluster.Total:
			return nil, 0, fmt.Errorf("%s: %w", cluster.Total, err)
		case err != nil:
			return nil, 0, fmt.Errorf("data center %q: %w", f.key, err)
		case f.key == cluster.Total:
			continue
		}
		dc, err := readDataCenter(f.key, members)
		if err != nil {
			return nil, 0, fmt.Errorf("data center %q%w", f.key, err)
		}
		users += len(dc.Users)
		dcs = append(dcs, dc)
	}
	return dcs, users, nil
}

func readDataCenter(name string, members []objectField) (answer.DataCenter, error) {
	dc, found := answer.DataCenter{Name: name}, false
	for _, f := range members {
		var err error
		switch {
		case f.key == "anonymous":
			err = json.Unmarshal(f.value, &dc.Anonymous)
		case f.key != "authenticated": // the count follows the list
		case f.value[0] == '[':
			found = true
			dc.Users, err = answerUsers(f)
			dc.Authenticated = len(dc.Users)
		default:
			found = true
			err = json.Unmarshal(f.value, &dc.Authenticated)
		}
		if err != nil {
			return dc, fmt.Errorf(": %w", err)
		}
	}
	if !found {
		return dc, errors.New(" has no authenticated: is it an answer of /message/allusers?")
	}
	return dc, nil
}

// passDataCenters passes the data centers that list users through the plugins.
func passDataCenters(a *answer.Plugins, dcs []answer.DataCenter) {
	var listed []answer.DataCenter
	for _, dc := range dcs {
		if dc.Users != nil {
			listed = append(listed, dc)
		}
	}
	a.PassDataCenters(listed)
	for i := range dcs {
		if dcs[i].Users != nil {
			dcs[i], listed = listed[0], listed[1:]
		}
	}
}

// answerUsers parses the users of a list. The result is not nil.
func answerUsers(f objectField) ([]presence.User, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(f.value, &list); err != nil {
		return nil, fmt.Errorf("%q: %w", f.key, err)
	}
	users := make([]presence.User, len(list))
	for i, raw := range list {
		var err error
		if users[i], err = answerUser(raw); err != nil {
			return nil, fmt.Errorf("%q, user %d: %w", f.key, i+1, err)
		}
	}
	return users, nil
}

// answerUser parses a user of an answer without plugins, also one with includeInfo.
func answerUser(raw []byte) (presence.User, error) {
	var u struct {
		ID     *string         `json:"id"`
		Email  string          `json:"email"`
		Info   json.RawMessage `json:"info"`
		Status json.RawMessage `json:"status"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&u); err != nil || u.ID == nil {
		return presence.User{}, fmt.Errorf(
			`%s is not a user as {"id":"...","email":"..."}: give an answer that no plugin has changed`, raw)
	}
	user := presence.User{ID: *u.ID, Email: u.Email}
	var err error
	if len(u.Info) > 0 {
		if user.Info, err = presence.CompactInfo(u.Info); err != nil {
			return presence.User{}, fmt.Errorf("the info of %q %w", user.ID, err)
		}
	}
	if len(u.Status) > 0 {
		if user.Status, err = presence.CompactStatus(u.Status); err != nil {
			return presence.User{}, fmt.Errorf("the status of %q %w", user.ID, err)
		}
	}
	return user, nil
}

// appendShown appends an answer of /message/users with what is shown of its users, in order. It
// leaves out users of whom nothing is shown.
func appendShown(b []byte, list []presence.Listing, shown []plugins.Shown) []byte {
	b = append(b, '{')
	first := true
	for _, l := range list {
		var records []string
		for _, s := range shown[:len(l.Users)] {
			if s.Record != "" {
				records = append(records, s.Record)
			}
		}
		shown = shown[len(l.Users):]
		if l.Kind == presence.Private && len(records) == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		name, _ := json.Marshal(l.Channel) // never fails
		b = append(append(b, name...), ':')
		switch l.Kind {
		case presence.Authenticated:
			b = append(append(append(b, '['), strings.Join(records, ",")...), ']')
		case presence.Private:
			b = append(b, records[0]...)
		default:
			b = strconv.AppendInt(b, int64(l.Count), 10)
		}
	}
	return append(b, '}')
}

// objectField is a member of a JSON object. Its value has no surrounding space.
type objectField struct {
	key   string
	value json.RawMessage
}

// objectFields returns the members of an object, in order.
func objectFields(raw []byte) ([]objectField, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var fields []objectField
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("not a JSON object: %w", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("not a JSON object: %w", err)
		}
		fields = append(fields, objectField{key: key.(string), value: value}) // in an object, keys are strings
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return fields, nil
}
