package authorize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rollcall-gateway/rollcall/presence"
)

// Answer is the answer of a backend. The zero value is a no.
type Answer struct {
	Allow bool      // the user may join and listen
	Send  bool      // the user may send, too
	See   bool      // the user may see who is there, too
	Until time.Time // end of a yes with expires_in; zero for a yes without
}

// Permissions returns what the answer grants.
func (a Answer) Permissions() (may presence.Permissions) {
	if !a.Allow {
		return 0
	}
	may = presence.MayJoin
	if a.Send {
		may |= presence.MaySend
	}
	if a.See {
		may |= presence.MaySee
	}
	return may
}

// Limits of an answer.
const (
	maxAnswer  = 4 << 10 // bytes
	minExpires = 10      // seconds
	maxExpires = 1 << 31 // seconds; a longer time is shortened
)

// parseAnswer decodes the body of a response with status 200 that came at the time now. Keys are
// matched exactly, and a known key may occur once: two readers of one answer must not disagree.
// Unknown keys are ignored.
func parseAnswer(p []byte, now time.Time) (Answer, error) {
	if len(p) > maxAnswer {
		return Answer{}, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	var allow, send, see, expires json.RawMessage
	known := map[string]*json.RawMessage{"allow": &allow, "send": &send, "see": &see, "expires_in": &expires}
	if err := parseObject(p, known); err != nil {
		return Answer{}, err
	}
	a := Answer{Send: true, See: true}
	if allow == nil || !parseBool(allow, &a.Allow) {
		return Answer{}, errors.New("the answer has no boolean allow")
	}
	if !a.Allow {
		return Answer{}, nil
	}
	if !parseBool(send, &a.Send) || !parseBool(see, &a.See) {
		return Answer{}, errors.New("send and see of the answer must be booleans")
	}
	if expires != nil {
		var seconds float64
		if err := json.Unmarshal(expires, &seconds); err != nil || !(seconds >= minExpires) {
			return Answer{}, fmt.Errorf("expires_in of the answer must be a number from %d", minExpires)
		}
		a.Until = now.Add(time.Duration(min(seconds, maxExpires) * float64(time.Second)))
	}
	return a, nil
}

// parseObject decodes a JSON object into the values of known keys.
func parseObject(p []byte, known map[string]*json.RawMessage) error {
	errNoObject := errors.New("the answer is not a JSON object")
	d := json.NewDecoder(bytes.NewReader(p))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errNoObject
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return errNoObject
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return errNoObject
		}
		if to := known[name.(string)]; to != nil { //nolint:forcetypeassert // the key of an object is a string
			if *to != nil {
				return fmt.Errorf("the answer has %s twice", name)
			}
			*to = value
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return errNoObject
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errNoObject
	}
	return nil
}

// parseBool decodes true or false. Without a value, it leaves the default. It returns false for
// anything else.
func parseBool(raw json.RawMessage, to *bool) bool {
	switch string(raw) {
	case "":
	case "true":
		*to = true
	case "false":
		*to = false
	default:
		return false
	}
	return true
}
