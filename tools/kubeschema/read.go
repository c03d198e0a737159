package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// read returns the objects in a file of YAML documents, with numbers as the validator expects them.
func read(name string) ([]any, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var objects []any
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document any
		switch err := d.Decode(&document); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return objects, err
		case document == nil: // only comments
			continue
		}
		text, err := json.Marshal(document)
		if err != nil {
			return objects, fmt.Errorf("not JSON: %w", err)
		}
		object, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return objects, err
		}
		objects = append(objects, object)
	}
}
