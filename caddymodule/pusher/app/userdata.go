package app

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/rollcall-gateway/rollcall/internal/rawjson"
	"github.com/rollcall-gateway/rollcall/presence"
)

// User is what a backend has signed about a user.
type User struct {
	ID    string
	Email string // from user_info; "" if it has none
	Info  string // user_info as received: any JSON value, or "" for none
	// Watchlist has the users that a sign-in wants to watch. There can be more than [MaxWatched].
	Watchlist []string
}

// ParseMember decodes channel_data of a presence channel.
func (c *Config) ParseMember(channelData string) (User, error) {
	return c.parse("channel_data", "user_id", channelData)
}

// ParseUser decodes user_data of a sign-in.
func (c *Config) ParseUser(userData string) (User, error) {
	return c.parse("user_data", "id", userData)
}

// parse decodes an object with the ID under the given key. what is the name of the object in
// errors.
func (c *Config) parse(what, idKey, text string) (User, error) {
	o, ok := rawjson.Open([]byte(text))
	if !ok || !utf8.ValidString(text) {
		return User{}, fmt.Errorf("%s is not a JSON object", what)
	}
	var id, info, watchlist []byte
	for {
		key, value, more := o.Next()
		if !more {
			break
		}
		switch string(rawjson.Name(key)) { // the last one of a name wins
		case idKey:
			id = value
		case "user_info":
			info = value
		case "watchlist":
			watchlist = value
		}
	}
	var u User
	var err error
	if u.ID, err = parseID(id); err != nil {
		return User{}, fmt.Errorf("%s of %s %w", idKey, what, err)
	}
	if !rawjson.Missing(info) {
		if len(info) > c.UserInfo {
			return User{}, fmt.Errorf("user_info of %s has more than %d bytes", what, c.UserInfo)
		}
		u.Info, u.Email = string(info), c.email(info)
	}
	if idKey == "id" && !rawjson.Missing(watchlist) {
		if u.Watchlist, err = parseWatchlist(watchlist); err != nil {
			return User{}, err
		}
	}
	return u, nil
}

// parseID decodes a string or a whole number.
func parseID(raw []byte) (string, error) {
	id, isText := rawjson.Text(raw)
	if !isText {
		if !wholeNumber(raw) {
			return "", errors.New("must be a string or a whole number")
		}
		id = string(raw)
	}
	if len(id) > MaxUserID {
		return "", fmt.Errorf("has more than %d bytes", MaxUserID)
	}
	return id, presence.CheckUserID(id)
}

// wholeNumber reports whether a JSON value is a number without fraction and exponent.
func wholeNumber(raw []byte) bool {
	if len(raw) > 0 && raw[0] == '-' {
		raw = raw[1:]
	}
	return digits(string(raw))
}

// email returns the e-mail address in user_info; "" if it has none that a user can have.
func (c *Config) email(info []byte) string {
	o, ok := rawjson.Open(info)
	if !ok {
		return ""
	}
	email := ""
	for {
		key, value, more := o.Next()
		if !more {
			break
		}
		if string(rawjson.Name(key)) == c.EmailField {
			email, _ = rawjson.Text(value)
		}
	}
	if presence.CheckEmail(email) != nil {
		return ""
	}
	return email
}

// parseWatchlist decodes an array of strings. Each user is in the result once.
func parseWatchlist(raw []byte) ([]string, error) {
	wrong := errors.New("watchlist of user_data must be an array of strings")
	a, ok := rawjson.OpenArray(raw)
	if !ok {
		return nil, wrong
	}
	list, seen := []string(nil), make(map[string]bool)
	for {
		value, more := a.Next()
		if !more {
			return list, nil
		}
		id, ok := rawjson.Text(value)
		if !ok {
			return nil, wrong
		}
		if !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
}
