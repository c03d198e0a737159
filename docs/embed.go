// Package docs has the descriptions of Rollcall for programs.
package docs

import _ "embed" // for the files

// OpenAPI describes the endpoints below the prefix of a site: OpenAPI 3.1, in YAML.
//
//go:embed openapi.yaml
var OpenAPI string

// AsyncAPI describes the frames of the websocket: AsyncAPI 3.0, in YAML.
//
//go:embed asyncapi.yaml
var AsyncAPI string
