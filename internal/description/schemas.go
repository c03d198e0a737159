package description

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/rollcall-gateway/rollcall/docs"
)

// schemas are the compiled schemas of both files. They are read-only.
type schemas struct {
	operations     map[string]*operation // by method and path below the prefix, like "POST /users"
	sent, received map[string]*frame     // frames of clients and of Rollcall, by type
}

// operation is an operation of openapi.yaml.
type operation struct {
	request   *jsonschema.Schema // nil if it has no body
	responses map[string]*response
}

// response is a response of an operation.
type response struct {
	headers map[string]header  // by canonical name
	kind    string             // media type; "" for no body
	body    *jsonschema.Schema // nil for a body that is no JSON
}

type header struct {
	required bool
	schema   *jsonschema.Schema
}

// frame is a message of asyncapi.yaml.
type frame struct {
	name   string // its key in components.messages
	schema *jsonschema.Schema
}

var load = sync.OnceValues(func() (*schemas, error) {
	s := &schemas{operations: map[string]*operation{}, sent: map[string]*frame{}, received: map[string]*frame{}}
	if err := s.readOpenAPI(); err != nil {
		return nil, fmt.Errorf("docs/openapi.yaml: %w", err)
	}
	if err := s.readAsyncAPI(); err != nil {
		return nil, fmt.Errorf("docs/asyncapi.yaml: %w", err)
	}
	return s, nil
})

// mustLoad returns the schemas. The files are part of the program, so an error is a bug in them.
func mustLoad() *schemas {
	s, err := load()
	if err != nil {
		panic(err)
	}
	return s
}

type object = map[string]any

// document is a file whose schemas can be compiled.
type document struct {
	root     object
	compiler *jsonschema.Compiler
}

func newDocument(text string, draft *jsonschema.Draft) (*document, error) {
	var parsed any
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(parsed) // gives each place of an anchor a value of its own
	if err != nil {
		return nil, err
	}
	d := &document{compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(draft)
	for _, form := range []string{open, closed} {
		root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		if form == closed {
			closeObjects(root)
		}
		if err := d.compiler.AddResource(form, root); err != nil {
			return nil, err
		}
		d.root = root.(object)
	}
	return d, nil
}

// The two forms of a document.
const (
	open   = "open.json"
	closed = "closed.json"
)

// closeObjects refuses further keys where a schema lists properties and does not say more.
func closeObjects(value any) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			closeObjects(item)
		}
	case object:
		_, lists := v["properties"].(object)
		if _, says := v["additionalProperties"]; lists && !says && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for item := range maps.Values(v) {
			closeObjects(item)
		}
	}
}

// at returns the object at a place in the file, following a reference, and the place where it is.
func (d *document) at(place string) (object, string) {
	node, _ := d.find(place).(object)
	if to, ok := node["$ref"].(string); ok {
		return d.at(to[len("#"):])
	}
	return node, place
}

func (d *document) find(place string) any {
	var node any = d.root
	for _, key := range keys(place) {
		o, _ := node.(object)
		node = o[key]
	}
	return node
}

// compile compiles the schema at a place in one of the two forms of the file.
func (d *document) compile(form, place string) (*jsonschema.Schema, error) {
	return d.compiler.Compile(form + "#" + place)
}

func (s *schemas) readOpenAPI() error {
	d, err := newDocument(docs.OpenAPI, jsonschema.Draft2020)
	if err != nil {
		return err
	}
	paths, _ := d.at("/paths")
	for path := range paths {
		methods, place := d.at("/paths/" + escape(path))
		for method := range methods {
			if s.operations[operationKey(method, path)], err = d.operation(place + "/" + method); err != nil {
				return fmt.Errorf("%s %s: %w", method, path, err)
			}
		}
	}
	return nil
}

func (d *document) operation(place string) (*operation, error) {
	op := &operation{responses: map[string]*response{}}
	var err error
	const body = "/requestBody/content/application~1json/schema"
	if d.find(place+body) != nil {
		if op.request, err = d.compile(open, place+body); err != nil {
			return nil, err
		}
	}
	all, _ := d.at(place + "/responses")
	for status := range all {
		if op.responses[status], err = d.response(place + "/responses/" + status); err != nil {
			return nil, err
		}
	}
	return op, nil
}

func (d *document) response(place string) (*response, error) {
	r := &response{headers: map[string]header{}}
	_, place = d.at(place)
	headers, _ := d.at(place + "/headers")
	for name := range headers {
		of, at := d.at(place + "/headers/" + name)
		schema, err := d.compile(closed, at+"/schema")
		if err != nil {
			return nil, err
		}
		required, _ := of["required"].(bool)
		r.headers[http.CanonicalHeaderKey(name)] = header{required, schema}
	}
	content, _ := d.at(place + "/content")
	for kind, media := range content {
		r.kind = kind
		if _, ok := media.(object)["schema"]; ok {
			var err error
			if r.body, err = d.compile(closed, place+"/content/"+escape(kind)+"/schema"); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// readAsyncAPI reads the messages: an operation with the action receive has those of clients, and
// its reply those of Rollcall, as has one with the action send.
func (s *schemas) readAsyncAPI() error {
	d, err := newDocument(docs.AsyncAPI, jsonschema.Draft7)
	if err != nil {
		return err
	}
	operations, _ := d.at("/operations")
	for name := range operations {
		place := "/operations/" + name
		into, form := s.received, closed
		if operations[name].(object)["action"] == "receive" {
			into, form = s.sent, open
			if err := d.messages(s.received, closed, place+"/reply/messages"); err != nil {
				return err
			}
		}
		if err := d.messages(into, form, place+"/messages"); err != nil {
			return err
		}
	}
	return nil
}

// messages adds the messages of a list.
func (d *document) messages(into map[string]*frame, form, list string) error {
	refs, _ := d.find(list).([]any)
	for _, ref := range refs {
		_, place := d.at(ref.(object)["$ref"].(string)[len("#"):])
		schema, err := d.compile(form, place+"/payload")
		if err != nil {
			return err
		}
		kind, _ := d.find(place + "/payload/properties/type/const").(string)
		all := keys(place)
		into[kind] = &frame{all[len(all)-1], schema}
	}
	return nil
}
