package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Shape is the part of a request to /message/allusers that decides what its answer contains.
type Shape struct{ Include, Raw bool }

// Shapes lists all shapes.
var Shapes = [...]Shape{{}, {Include: true}, {Raw: true}, {Include: true, Raw: true}}

// Body returns the request's body.
func (s Shape) Body() string {
	return fmt.Sprintf(`{"includeUsers":%v,"dedupeUsers":%v}`, s.Include, !s.Raw)
}

// DataCenter is the part of an answer about one data center.
type DataCenter struct {
	Authenticated int
	Anonymous     int
	Users         []User // sorted by ID; nil without includeUsers
}

// ParseAllUsers parses an answer of /message/allusers, without `_total`. An answer that contradicts
// itself is an error.
func ParseAllUsers(body []byte, s Shape) (map[string]DataCenter, error) {
	var raw map[string]struct {
		Authenticated      json.RawMessage
		AuthenticatedCount *int
		Anonymous          int
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	const totalKey = "_total"
	sum, total := DataCenter{}, DataCenter{Authenticated: -1}
	dcs := make(map[string]DataCenter, len(raw))
	for name, entry := range raw {
		dc := DataCenter{Anonymous: entry.Anonymous}
		var err error
		if s.Include && name != totalKey {
			err = json.Unmarshal(entry.Authenticated, &dc.Users)
			dc.Authenticated = len(dc.Users)
			if err == nil && (dc.Users == nil || entry.AuthenticatedCount == nil || *entry.AuthenticatedCount != len(dc.Users)) {
				err = errors.New("authenticatedCount is not the number of users")
			}
		} else {
			err = json.Unmarshal(entry.Authenticated, &dc.Authenticated)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		slices.SortFunc(dc.Users, byID)
		if name == totalKey {
			total = dc
			continue
		}
		sum.Authenticated += dc.Authenticated
		sum.Anonymous += dc.Anonymous
		dcs[name] = dc
	}
	if total.Authenticated != sum.Authenticated || total.Anonymous != sum.Anonymous {
		return nil, errors.New("_total is not the sum")
	}
	return dcs, nil
}

// ParseUsers parses an answer of /message/users into the form of [Model.Users].
func ParseUsers(body []byte) (map[string]any, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	answer := make(map[string]any, len(raw))
	for channel, value := range raw {
		parsed, err := parseChannel(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", channel, err)
		}
		answer[channel] = parsed
	}
	return answer, nil
}

func parseChannel(value json.RawMessage) (any, error) {
	switch value[0] {
	case '[':
		users := []User{}
		err := json.Unmarshal(value, &users)
		slices.SortFunc(users, byID)
		return users, err
	case '{':
		var user User
		err := json.Unmarshal(value, &user)
		return user, err
	default:
		var n float64
		err := json.Unmarshal(value, &n)
		return n, err
	}
}

// Compare returns nil for equal maps. Otherwise its error names at most five keys that differ or
// are in one map only.
func Compare[V any](got, want map[string]V) error {
	const most = 5
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		g, has := got[key]
		w, wanted := want[key]
		switch {
		case has && wanted && reflect.DeepEqual(g, w):
			continue
		case !has:
			errs = append(errs, fmt.Errorf("%s is absent, want %.300s", key, fmt.Sprintf("%+v", w)))
		case !wanted:
			errs = append(errs, fmt.Errorf("%s is %.300s, want none", key, fmt.Sprintf("%+v", g)))
		default:
			errs = append(errs, fmt.Errorf("%s is %.300s, want %.300s", key, fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w)))
		}
		if len(errs) == most {
			break
		}
	}
	return errors.Join(errs...)
}
