package description

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// prefix is the prefix of the sites that are checked: the default one.
const prefix = "/message"

// maxBody is the size of the largest body that is checked, in bytes: schemas take far longer than
// the server, and tests with large bodies are about time.
const maxBody = 16 << 10

// Exchange is a request to a site and its response.
type Exchange struct {
	Method, Path string
	Request      string // body
	Status       int
	Header       http.Header
	Response     string // body
	// Shaped says that a plugin may have changed the answer into any JSON.
	Shaped bool
}

// Check compares the exchange with docs/openapi.yaml. It returns nil for a path that is not below
// /message, and for a response that another handler than Rollcall has given.
func (e Exchange) Check() error {
	name, ok := strings.CutPrefix(e.Path, prefix)
	name, _, _ = strings.Cut(name, "?")
	if !ok || !e.isOfRollcall() {
		return nil
	}
	key := operationKey(e.Method, name)
	if err := e.check(mustLoad().operations[key]); err != nil {
		return fmt.Errorf("%s %s differs from docs/openapi.yaml: %w\nrequest: %.2000s\nstatus %d: %.2000s", e.Method, e.Path, err, e.Request, e.Status, e.Response)
	}
	if e.Status < http.StatusBadRequest {
		noteSeen(key)
	}
	return nil
}

func operationKey(method, path string) string { return strings.ToUpper(method) + " " + path }

// isOfRollcall reports whether Rollcall has responded, and not Caddy or another handler.
func (e Exchange) isOfRollcall() bool {
	switch kind := e.Header.Get("Content-Type"); {
	case kind == "application/problem+json":
		return true
	case e.Method == http.MethodGet:
		return e.Status < http.StatusBadRequest && (kind != "" || e.Status != http.StatusOK)
	default:
		return kind == "application/json"
	}
}

// beyondSchemas are details of bad_value about what a schema cannot say: bytes, limits of the site,
// half a surrogate pair, domain names, the time, and the ID of no connection.
var beyondSchemas = regexp.MustCompile(`bytes|U\+FFFD|UTF-8|host must be|up to now|has a name that|is not the ID of`)

func (e Exchange) check(op *operation) error {
	switch {
	case op == nil && e.Status >= http.StatusBadRequest: // another method
		return nil
	case op == nil:
		return errors.New("it has no such operation")
	}
	if err := e.checkRequest(op.request); err != nil {
		return err
	}
	r := op.responses[strconv.Itoa(e.Status)]
	if r == nil && e.Status >= http.StatusBadRequest {
		r = op.responses["default"]
	}
	if r == nil {
		return errors.New("it has no such status")
	}
	if err := r.checkHeader(e.Header); err != nil {
		return err
	}
	kind, _, err := mime.ParseMediaType(e.Header.Get("Content-Type"))
	if r.kind != "" && (err != nil || kind != r.kind) {
		return fmt.Errorf("the response is %q, want %s", kind, r.kind)
	}
	if r.body == nil || len(e.Response) > maxBody || e.Shaped && e.Status < http.StatusBadRequest {
		return nil
	}
	return validate(r.body, e.Response)
}

// checkRequest returns an error if a request was accepted that breaks its schema, or was refused
// for a value that fits it.
func (e Exchange) checkRequest(schema *jsonschema.Schema) error {
	if schema == nil || len(e.Request) > maxBody || strings.TrimSpace(e.Request) == "" {
		return nil
	}
	var p struct{ Code, Detail string }
	refused := e.Status >= http.StatusBadRequest && json.Unmarshal([]byte(e.Response), &p) == nil
	if refused && (p.Code != "bad_value" || beyondSchemas.MatchString(p.Detail)) {
		return nil
	}
	switch err := validate(schema, e.Request); {
	case refused && err == nil:
		return errors.New("the request was refused, but fits")
	case !refused && err != nil:
		return fmt.Errorf("the request was accepted, but: %w", err)
	}
	return nil
}

func (r *response) checkHeader(got http.Header) error {
	for name, h := range r.headers {
		value, present := got[name]
		switch {
		case !present && h.required:
			return fmt.Errorf("the header %s is missing", name)
		case present:
			if err := h.schema.Validate(value[0]); err != nil {
				return fmt.Errorf("the header %s: %w", name, err)
			}
		}
	}
	for name := range got {
		if _, known := r.headers[name]; !known && strings.HasPrefix(name, "Rollcall-") {
			return fmt.Errorf("the header %s is unknown", name)
		}
	}
	return nil
}

func validate(schema *jsonschema.Schema, text string) error {
	if !json.Valid([]byte(text)) {
		return errors.New("it is not JSON")
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(text)))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}
