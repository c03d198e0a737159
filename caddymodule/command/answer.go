package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/rollcall-gateway/rollcall/caddymodule/wire"
	"github.com/rollcall-gateway/rollcall/plugins"
	"github.com/rollcall-gateway/rollcall/presence/cluster"
)

// showUsers returns the objects that are shown of the users, without those who are left out.
type showUsers func([]plugins.User) ([]json.RawMessage, error)

// shownAnswer reads an answer of an endpoint and returns the one that a backend gets when show decides what is shown of
// each user.
func shownAnswer(e plugins.Endpoint, answer []byte, show showUsers) ([]byte, error) {
	fields, err := objectFields(answer)
	if err != nil {
		return nil, fmt.Errorf("the answer on standard input: %w", err)
	}
	if e == plugins.EndpointAllUsers {
		return shownAllUsers(fields, show)
	}
	return shownChannels(fields, show)
}

// shownChannels does it for /message/users.
func shownChannels(fields []objectField, show showUsers) ([]byte, error) {
	shown := make([]objectField, 0, len(fields))
	for _, f := range fields {
		switch f.value[0] {
		case '[':
			objects, err := showList(f, show)
			if err != nil {
				return nil, err
			}
			f.value = jsonArray(objects)
		case '{': // a private channel: its user
			user, err := answerUser(f.value)
			if err != nil {
				return nil, fmt.Errorf("channel %q: %w", f.key, err)
			}
			objects, err := show([]plugins.User{user})
			if err != nil {
				return nil, err
			}
			if len(objects) == 0 {
				continue
			}
			f.value = objects[0]
		default:
			if _, err := strconv.Atoi(string(f.value)); err != nil {
				return nil, fmt.Errorf("channel %q: neither a list of users, nor a user, nor a number", f.key)
			}
		}
		shown = append(shown, f)
	}
	return jsonObject(shown), nil
}

// shownAllUsers does it for /message/allusers.
func shownAllUsers(dcs []objectField, show showUsers) ([]byte, error) {
	listed, total := false, 0
	for i, dc := range dcs {
		if dc.key == cluster.Total {
			continue
		}
		fields, err := objectFields(dc.value)
		if err != nil {
			return nil, fmt.Errorf("data center %q: %w", dc.key, err)
		}
		at, ok := fieldNamed(fields, "authenticated")
		if !ok {
			return nil, fmt.Errorf("data center %q has no authenticated: is it an answer of /message/allusers?", dc.key)
		}
		if at.value[0] != '[' {
			continue // numbers only: nothing to show
		}
		objects, err := showList(*at, show)
		if err != nil {
			return nil, fmt.Errorf("data center %q: %w", dc.key, err)
		}
		listed = true
		total += len(objects)
		at.value = jsonArray(objects)
		if count, ok := fieldNamed(fields, "authenticatedCount"); ok {
			count.value = strconv.AppendInt(nil, int64(len(objects)), 10)
		}
		dcs[i].value = jsonObject(fields)
	}
	if sum, ok := fieldNamed(dcs, cluster.Total); ok && listed {
		fields, err := objectFields(sum.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cluster.Total, err)
		}
		if at, ok := fieldNamed(fields, "authenticated"); ok {
			at.value = strconv.AppendInt(nil, int64(total), 10)
		}
		sum.value = jsonObject(fields)
	}
	return jsonObject(dcs), nil
}

// showList shows the users of a field that holds a list.
func showList(f objectField, show showUsers) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(f.value, &list); err != nil {
		return nil, fmt.Errorf("%q: %w", f.key, err)
	}
	users := make([]plugins.User, len(list))
	for i, raw := range list {
		var err error
		if users[i], err = answerUser(raw); err != nil {
			return nil, fmt.Errorf("%q, user %d: %w", f.key, i+1, err)
		}
	}
	return show(users)
}

// answerUser reads a user as the endpoints list them without plugins.
func answerUser(raw []byte) (plugins.User, error) {
	var u struct {
		ID    *string `json:"id"`
		Email string  `json:"email"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&u); err != nil || u.ID == nil {
		return plugins.User{}, fmt.Errorf(
			`%s is not a user as {"id":"...","email":"..."}: give an answer that no plugin has changed`, raw)
	}
	return plugins.User{ID: *u.ID, Email: u.Email}, nil
}

// objectField is a member of a JSON object. Its value has no space around it.
type objectField struct {
	key   string
	value json.RawMessage
}

// objectFields returns the members of an object in their order.
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

func fieldNamed(fields []objectField, key string) (*objectField, bool) {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i], true
		}
	}
	return nil, false
}

func jsonObject(fields []objectField) []byte {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, f.key)
		b = append(b, ':')
		b = append(b, f.value...)
	}
	return append(b, '}')
}

func jsonArray(values []json.RawMessage) []byte {
	b := []byte{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}
