package app

import (
	"errors"
	"strings"
	"testing"
)

// The vectors of the specification, computed with OpenSSL.
const (
	privateVector  = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
	presenceVector = "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
	signInVector   = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
	channelData    = `{"user_id":10,"user_info":{"name":"Mr. Channels"}}`
)

func TestT13Vectors(t *testing.T) {
	c, a := config()
	socket := socketID(t, "1234.1234")
	if err := c.VerifySocket(a, socket, "private-foobar", "", vectorKey+":"+privateVector); err != nil {
		t.Error(err)
	}
	if err := c.VerifySocket(a, socket, "presence-foobar", channelData, vectorKey+":"+presenceVector); err != nil {
		t.Error(err)
	}
	if err := c.VerifySignIn(a, socket, `{"id":"12345"}`, vectorKey+":"+signInVector); err != nil {
		t.Error(err)
	}
	other := c.Apps[0].Keys[0]
	if err := c.VerifySocket(a, socket, "private-foobar", "", other.Key+":"+other.Sign([]byte("1234.1234:private-foobar"))); err != nil {
		t.Error("the other key of the app:", err)
	}
}

func TestVerifySocketRefuses(t *testing.T) {
	c, a := config()
	for _, test := range []struct {
		name, socket, channel, data, auth string
		reason                            error
		says                              string
	}{
		{"one bit", "1234.1234", "private-foobar", "", vectorKey + ":5" + "9" + privateVector[2:], ErrBadSignature, "1234.1234:private-foobar"},
		{"upper case", "1234.1234", "private-foobar", "", vectorKey + ":" + strings.ToUpper(privateVector), ErrBadSignature, "lowercase"},
		{"half of it", "1234.1234", "private-foobar", "", vectorKey + ":" + privateVector[:32], ErrBadSignature, "64"},
		{"another socket", "1234.1235", "private-foobar", "", vectorKey + ":" + privateVector, ErrBadSignature, "1234.1235:private-foobar"},
		{"another channel", "1234.1234", "private-foobaz", "", vectorKey + ":" + privateVector, ErrBadSignature, "private-foobaz"},
		{"other data", "1234.1234", "presence-foobar", strings.Replace(channelData, "10", "11", 1), vectorKey + ":" + presenceVector, ErrBadSignature, `{"user_id":11`},
		{"data left out", "1234.1234", "presence-foobar", "", vectorKey + ":" + presenceVector, ErrBadSignature, ""},
		{"another secret", "1234.1234", "private-foobar", "", "new-key:" + privateVector, ErrBadSignature, "new-key"},
		{"key of another app", "1234.1234", "private-foobar", "", "other-key:" + privateVector, ErrUnknownKey, "another app"},
		{"unknown key", "1234.1234", "private-foobar", "", "unknown:" + privateVector, ErrUnknownKey, "not a key of this app"},
		{"no auth", "1234.1234", "private-foobar", "", "", ErrBadSignature, "missing"},
		{"no key", "1234.1234", "private-foobar", "", privateVector, ErrBadSignature, "KEY:SIGNATURE"},
		{"no signature", "1234.1234", "private-foobar", "", vectorKey + ":", ErrBadSignature, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := c.VerifySocket(a, socketID(t, test.socket), test.channel, test.data, test.auth)
			if !errors.Is(err, test.reason) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want %v and %q", err, test.reason, test.says)
			}
			if strings.Contains(err.Error(), privateVector) || strings.Contains(err.Error(), vectorSecret) {
				t.Errorf("the error has the signature or the secret: %v", err)
			}
		})
	}
	if err := c.VerifySignIn(a, socketID(t, "1234.1234"), `{"id":"12346"}`, vectorKey+":"+signInVector); !errors.Is(err, ErrBadSignature) {
		t.Errorf("another user: %v", err)
	}
}
