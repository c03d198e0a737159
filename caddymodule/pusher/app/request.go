package app

import (
	"crypto/md5" //nolint:gosec // the protocol has it; the signature covers the digest
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxClockSkew is the maximum difference between auth_timestamp and the time.
const maxClockSkew = 600 * time.Second

// Request is a request to the HTTP API.
type Request struct {
	Method string
	Path   string // escaped, as received
	Prefix string // configured prefix of the path, which not all libraries sign; "" for none
	Query  string // as received
	Body   []byte
}

// Params are the parameters of a query: their names in lower case and in order, with decoded
// values.
type Params []Param

// Param is one parameter. The values of one that occurs several times are joined by commas.
type Param struct{ Name, Value string }

// Get returns the value of a parameter; "" if there is none.
func (p Params) Get(name string) string {
	value, _ := p.Lookup(name)
	return value
}

// Lookup returns the value of a parameter, and whether there is one.
func (p Params) Lookup(name string) (string, bool) {
	i, found := slices.BinarySearchFunc(p, name, func(p Param, name string) int { return strings.Compare(p.Name, name) })
	if !found {
		return "", false
	}
	return p[i].Value, true
}

// VerifyRequest checks the key, the time, the signature and the digest of a request, in that order.
// It returns the parameters, which the signature covers.
func (a *App) VerifyRequest(r Request, now time.Time) (Params, error) {
	params, err := ParseParams(r.Query)
	if err != nil {
		return nil, err
	}
	name := params.Get("auth_key")
	key := a.key(name)
	switch {
	case name == "":
		return nil, &refusal{ErrUnknownKey, "auth_key is missing"}
	case key == nil:
		return nil, &refusal{ErrUnknownKey, "auth_key is not a key of this app"}
	case params.Get("auth_version") != "1.0":
		return nil, fmt.Errorf("auth_version must be 1.0")
	}
	if err := checkTime(params.Get("auth_timestamp"), now); err != nil {
		return nil, err
	}
	if !key.signedRequest(r, params) {
		return nil, &refusal{ErrBadSignature, fmt.Sprintf(
			"wrong auth_signature: expected the HMAC-SHA256, as 64 lowercase hexadecimal digits, with the secret of the key %s, of the text %s",
			name, r.Method+"\n"+r.Path+"\n"+params.signedText())}
	}
	return params, checkDigest(params, r.Body)
}

func checkTime(timestamp string, now time.Time) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || !digits(timestamp) {
		return fmt.Errorf("auth_timestamp must be the time in whole seconds since 1970")
	}
	// Differences of times saturate, so that no timestamp wraps around.
	if skew := time.Unix(seconds, 0).Sub(time.Unix(now.Unix(), 0)); skew > maxClockSkew || skew < -maxClockSkew {
		return fmt.Errorf("auth_timestamp is more than %d seconds away from the server's time, %d: compare the clocks",
			int(maxClockSkew.Seconds()), now.Unix())
	}
	return nil
}

// signedRequest reports whether the signature is that of the request, with one of the paths that
// libraries sign.
func (k *Key) signedRequest(r Request, params Params) bool {
	signature, text := params.Get("auth_signature"), params.signedText()
	for _, path := range signedPaths(r.Path, r.Prefix) {
		if k.signed(r.Method+"\n"+path+"\n"+text, signature) {
			return true
		}
	}
	return false
}

// signedPaths returns the forms of a path that libraries sign: some sign names unescaped that HTTP
// clients escape, and PHP signs without the prefix.
func signedPaths(path, prefix string) []string {
	paths := []string{path}
	if decoded, err := url.PathUnescape(path); err == nil && decoded != path {
		paths = append(paths, decoded)
	}
	if prefix = strings.TrimRight(prefix, "/"); prefix == "" {
		return paths
	}
	for _, p := range slices.Clone(paths) {
		if rest, found := strings.CutPrefix(p, prefix); found && strings.HasPrefix(rest, "/") {
			paths = append(paths, rest)
		}
	}
	return paths
}

func checkDigest(params Params, body []byte) error {
	digest, found := params.Lookup("body_md5")
	if !found {
		if len(body) > 0 {
			return fmt.Errorf("body_md5 is missing: it must be the MD5 of the body in hexadecimal digits")
		}
		return nil
	}
	sum := md5.Sum(body) //nolint:gosec // see the import
	if !same(digest, hex.EncodeToString(sum[:])) {
		return fmt.Errorf("body_md5 is not the MD5 of the body in lowercase hexadecimal digits")
	}
	return nil
}

// ParseParams decodes a query.
func ParseParams(query string) (Params, error) {
	var params Params
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, fmt.Errorf("the query has a name that is not URL-encoded")
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, fmt.Errorf("the query has a value that is not URL-encoded")
		}
		params = append(params, Param{strings.ToLower(withoutIndex(name)), value})
	}
	slices.SortStableFunc(params, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	joined := params[:0]
	for _, p := range params {
		if last := len(joined) - 1; last >= 0 && joined[last].Name == p.Name {
			joined[last].Value += "," + p.Value
			continue
		}
		joined = append(joined, p)
	}
	return joined, nil
}

// withoutIndex returns the name of a parameter without the brackets of an array's element: a for
// a[] and for PHP's a[0].
func withoutIndex(name string) string {
	open := strings.IndexByte(name, '[')
	if open <= 0 || name[len(name)-1] != ']' {
		return name
	}
	if index := name[open+1 : len(name)-1]; index != "" && !digits(index) {
		return name
	}
	return name[:open]
}

// signedText returns the parameters as they are signed.
func (p Params) signedText() string {
	var b strings.Builder
	for _, param := range p {
		if param.Name == "auth_signature" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(param.Name)
		b.WriteByte('=')
		b.WriteString(param.Value)
	}
	return b.String()
}
