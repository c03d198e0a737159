package app

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

var vectorTime = time.Unix(1353088179, 0)

const (
	requestVector = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
	vectorBody    = `{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
	vectorQuery   = "auth_key=" + vectorKey + "&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature=" + requestVector
)

func TestVerifyRequestOfTheVector(t *testing.T) {
	_, a := config()
	r := Request{Method: "POST", Path: "/apps/3/events", Query: vectorQuery, Body: []byte(vectorBody)}
	params, err := a.VerifyRequest(r, vectorTime)
	if err != nil {
		t.Fatal(err)
	}
	if params.Get("auth_key") != vectorKey || params.Get("info") != "" {
		t.Errorf("got %v", params)
	}
	for i := range requestVector {
		r.Query = vectorQuery[:len(vectorQuery)-len(requestVector)] + requestVector[:i] + flipped(requestVector[i]) + requestVector[i+1:]
		if _, err := a.VerifyRequest(r, vectorTime); !errors.Is(err, ErrBadSignature) {
			t.Fatalf("with another digit at %d: %v", i, err)
		}
	}
}

func flipped(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

// signedQuery returns a query with a signature of the method, the path and the text of the
// parameters, which are sent as query.
func signedQuery(a *App, method, path, text, query string) string {
	return query + "&auth_signature=" + a.Keys[0].Sign([]byte(method+"\n"+path+"\n"+text))
}

func TestVerifyRequest(t *testing.T) {
	const auth = "auth_key=new-key&auth_timestamp=1353088179&auth_version=1.0"
	digest := func(body string) string {
		sum := md5.Sum([]byte(body))
		return hex.EncodeToString(sum[:])
	}
	at := func(seconds int) string {
		return "auth_key=new-key&auth_timestamp=" + strconv.Itoa(1353088179+seconds) + "&auth_version=1.0"
	}
	for _, test := range []struct {
		name                              string
		path, signed, prefix, query, text string
		body                              string
		says                              string // "" if the request is accepted
	}{
		{name: "no body", path: "/apps/3/channels"},
		{name: "digest of no body", path: "/apps/3/channels", query: auth + "&body_md5=" + digest("")},
		{name: "wrong digest of no body", path: "/apps/3/channels", query: auth + "&body_md5=" + digest("x"), says: "body_md5"},
		{name: "a body without digest", path: "/apps/3/events", body: "{}", says: "body_md5 is missing"},
		{name: "a body with its digest", path: "/apps/3/events", body: "{}", query: auth + "&body_md5=" + digest("{}")},
		{name: "another body", path: "/apps/3/events", body: "{ }", query: auth + "&body_md5=" + digest("{}"), says: "body_md5"},
		{name: "digest in upper case", path: "/apps/3/events", body: "{}", query: auth + "&body_md5=" + strings.ToUpper(digest("{}")), says: "lowercase"},

		{name: "late, but in time", path: "/x", query: at(-599)},
		{name: "early, but in time", path: "/x", query: at(599)},
		{name: "too late", path: "/x", query: at(-601), says: "auth_timestamp"},
		{name: "too early", path: "/x", query: at(601), says: "auth_timestamp"},
		{name: "no time", path: "/x", query: "auth_key=new-key&auth_version=1.0", says: "auth_timestamp"},
		{name: "a time with sign", path: "/x", query: "auth_key=new-key&auth_timestamp=%2B1353088179&auth_version=1.0", text: "auth_key=new-key&auth_timestamp=+1353088179&auth_version=1.0", says: "auth_timestamp"},
		{name: "the last time there is", path: "/x", query: "auth_key=new-key&auth_timestamp=9223372036854775807&auth_version=1.0", says: "auth_timestamp"},
		{name: "another version", path: "/x", query: strings.Replace(auth, "1.0", "2.0", 1), says: "auth_version"},
		{name: "no key", path: "/x", query: "auth_timestamp=1353088179&auth_version=1.0", says: "auth_key is missing"},
		{name: "key of another app", path: "/x", query: strings.Replace(auth, "new-key", "other-key", 1), says: "auth_key is not"},
		{name: "two keys", path: "/x", query: "auth_key=new-key&" + auth, says: "auth_key is not"},

		{name: "plus and comma", path: "/x", query: auth + "&q=a+b%2Cc%2B", text: auth + "&q=a b,c+"},
		{name: "an array", path: "/x", query: auth + "&a[]=1&a[]=2", text: "a=1,2&" + auth},
		{name: "an array with escaped indexes", path: "/x", query: auth + "&a%5B0%5D=1&a%5B1%5D=2", text: "a=1,2&" + auth},
		{name: "several of a name", path: "/x", query: auth + "&a=2&b=3&a=1", text: "a=2,1&" + auth + "&b=3"},
		{name: "names in upper case", path: "/x", query: auth + "&INFO=x", text: auth + "&info=x"},
		{name: "no value", path: "/x", query: auth + "&info", text: auth + "&info="},
		{name: "not URL-encoded", path: "/x", query: auth + "&a=%zz", says: "URL-encoded"},
		{name: "a parameter that is not signed", path: "/x", query: auth + "&a=1", text: auth, says: "auth_signature"},

		{name: "a path signed unescaped", path: "/apps/3/users/a%20b/terminate_connections", signed: "/apps/3/users/a b/terminate_connections"},
		{name: "a path signed escaped", path: "/apps/3/users/a%20b/terminate_connections"},
		{name: "a path signed with its prefix", path: "/pusher/apps/3/events", prefix: "/pusher"},
		{name: "a path signed without its prefix", path: "/pusher/apps/3/events", prefix: "/pusher", signed: "/apps/3/events"},
		{name: "a path signed without a prefix, unescaped", path: "/p/apps/3/a%20b", prefix: "/p/", signed: "/apps/3/a b"},
		{name: "another prefix", path: "/pushers/apps/3/events", prefix: "/pusher", signed: "s/apps/3/events", says: "auth_signature"},
		{name: "another path", path: "/apps/3/events", signed: "/apps/3/batch_events", says: "/apps/3/events"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, a := config()
			if test.query == "" {
				test.query = auth
			}
			if test.text == "" {
				test.text = test.query
			}
			if test.signed == "" {
				test.signed = test.path
			}
			r := Request{Method: "POST", Path: test.path, Prefix: test.prefix, Body: []byte(test.body)}
			r.Query = signedQuery(a, r.Method, test.signed, test.text, test.query)
			_, err := a.VerifyRequest(r, vectorTime)
			if test.says == "" && err != nil {
				t.Error(err)
			}
			if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, want an error with %q", err, test.says)
			}
		})
	}
}

func TestVerifyRequestSignsTheMethod(t *testing.T) {
	_, a := config()
	r := Request{Method: "GET", Path: "/apps/3/events", Query: vectorQuery, Body: []byte(vectorBody)}
	if _, err := a.VerifyRequest(r, vectorTime); !errors.Is(err, ErrBadSignature) || !strings.Contains(err.Error(), "GET\n/apps/3/events\nauth_key=") {
		t.Errorf("got %v", err)
	}
}

// FuzzVerifyRequest checks that no query is accepted with a signature of another request, and that
// one that is signed properly is accepted (T34).
func FuzzVerifyRequest(f *testing.F) {
	for _, query := range []string{
		vectorQuery, "", "&", "=", "a[]=1&a[]=2", "a%5B0%5D=%2C", "%zz", "a=1;b=2", "[]=x", "A=1&a=2", "auth_signature=1&auth_signature=2",
	} {
		f.Add("/apps/3/events", query)
		f.Add("/p/apps/3/a%20b", query)
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		_, a := config()
		r := Request{Method: "GET", Path: path, Prefix: "/p", Query: query}
		if _, err := a.VerifyRequest(r, vectorTime); err == nil {
			t.Fatal("accepted without a signature that was made here")
		}
		query += "&auth_version=1.0&auth_timestamp=1353088179&auth_key=new-key"
		params, err := ParseParams(query)
		if err != nil || strings.ContainsRune(params.Get("auth_key")+params.Get("auth_version")+params.Get("auth_timestamp")+params.Get("auth_signature"), ',') {
			return
		}
		if _, found := params.Lookup("body_md5"); found {
			return
		}
		if _, found := params.Lookup("auth_signature"); found {
			return
		}
		r.Query = signedQuery(a, "GET", path, params.signedText(), query)
		if got, err := a.VerifyRequest(r, vectorTime); err != nil || len(got) != len(params)+1 {
			t.Fatalf("got %v and %v", got, err)
		}
	})
}
