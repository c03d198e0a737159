package backend

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Failure describes a failed attempt for operators. It never has the URL, which can have a secret.
type Failure struct {
	At   time.Time
	Text string // the [Reason], and the HTTP status or the start of the error
}

// maxFailureText is the longest text of an error in a Failure, in bytes.
const maxFailureText = 200

// failure describes the outcome of an attempt that failed at the time.
func (o outcome) failure(at time.Time) Failure {
	f := Failure{At: at, Text: string(o.why)}
	err := o.err
	if sent, ok := errors.AsType[*url.Error](err); ok {
		err = sent.Err
	}
	switch {
	case o.status != 0:
		f.Text = fmt.Sprintf("%s: status %d", o.why, o.status)
	case err != nil:
		text := err.Error()
		f.Text = fmt.Sprintf("%s: %s", o.why, text[:min(len(text), maxFailureText)])
	}
	return f
}
