package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas holds the schemas of one version of Kubernetes, read on demand.
type schemas struct {
	folder   string
	compiler *jsonschema.Compiler
	kinds    map[string]map[string]string // reference of the schema, by apiVersion and kind
}

func newSchemas(folder string) *schemas {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020) // $ref next to other keywords, as in OpenAPI 3.0 with allOf around it
	return &schemas{folder: folder, compiler: c, kinds: make(map[string]map[string]string)}
}

// check validates an object against the schema of its apiVersion and kind.
func (s *schemas) check(object any) error {
	fields, _ := object.(map[string]any)
	version, _ := fields["apiVersion"].(string)
	kind, _ := fields["kind"].(string)
	metadata, _ := fields["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if version == "" || kind == "" || name == "" {
		return fmt.Errorf("an object without apiVersion, kind or metadata.name: %v", object)
	}
	if err := s.load(version); err != nil {
		return fmt.Errorf("%s %s: apiVersion %s: %w", kind, name, version, err)
	}
	location, ok := s.kinds[version][kind]
	if !ok {
		return fmt.Errorf("%s %s: there is no such kind in %s", kind, name, version)
	}
	schema, err := s.compiler.Compile(location)
	if err != nil {
		return fmt.Errorf("%s %s: compiling the schema: %w", kind, name, err)
	}
	if err := schema.Validate(object); err != nil {
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return nil
}

// load reads the schemas of a group and version, such as apps/v1; v1 is the core group.
func (s *schemas) load(version string) error {
	if s.kinds[version] != nil {
		return nil
	}
	if !filepath.IsLocal(version) {
		return errors.New("not a version")
	}
	name := filepath.Join(s.folder, "apis", version+".json")
	if !strings.Contains(version, "/") {
		name = filepath.Join(s.folder, "api", version+".json")
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	document, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		return err
	}
	all, err := components(document)
	if err != nil {
		return err
	}
	url := "kubernetes:///" + version
	kinds := make(map[string]string)
	for name, schema := range all {
		tighten(name, schema)
		for _, kind := range kindsOf(schema, version) {
			kinds[kind] = url + "#/components/schemas/" + name
		}
	}
	s.kinds[version] = kinds
	return s.compiler.AddResource(url, document)
}

// components returns the schemas of an OpenAPI document by name. The caller may change them.
func components(document any) (map[string]map[string]any, error) {
	root, _ := document.(map[string]any)
	part, _ := root["components"].(map[string]any)
	list, _ := part["schemas"].(map[string]any)
	all := make(map[string]map[string]any, len(list))
	for name, s := range list {
		schema, ok := s.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the schema %s is not an object", name)
		}
		all[name] = schema
	}
	if len(all) == 0 {
		return nil, errors.New("not a document of OpenAPI with schemas")
	}
	return all, nil
}

// kindsOf returns the kinds of a group and version that a schema describes.
func kindsOf(schema map[string]any, version string) []string {
	var kinds []string
	list, _ := schema["x-kubernetes-group-version-kind"].([]any)
	for _, entry := range list {
		e, _ := entry.(map[string]any)
		group, _ := e["group"].(string)
		v, _ := e["version"].(string)
		if group != "" {
			v = group + "/" + v
		}
		if kind, _ := e["kind"].(string); v == version {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// quantity matches Kubernetes quantities; the schema itself allows any string or number.
const quantity = `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$`

// tighten refuses unknown fields and malformed quantities. Kubernetes leaves both to its decoder.
func tighten(name string, schema map[string]any) {
	if strings.HasSuffix(name, ".resource.Quantity") {
		schema["pattern"] = quantity
	}
	if _, ok := schema["properties"]; !ok {
		return
	}
	if _, ok := schema["additionalProperties"]; !ok {
		schema["additionalProperties"] = false
	}
}
