package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Source of the schemas. The hash is that of the checksum database, as in a go.sum.
const (
	source     = "sigs.k8s.io/kubectl-validate@v0.0.4"
	sourceHash = "h1:tGKuv0awYHn11Cb6KPsZKxUmHgavF46K3NvVH0Nse9U="
	kubernetes = "1.30" // the newest version in the source; the fields that the manifests use have not changed since
)

// download returns the folder with the schemas, in the module cache.
func download() (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", source)
	cmd.Dir = os.TempDir() // outside this module, whose go.sum lists only what it is built from
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, failure := cmd.Output()
	var module struct{ Dir, Sum, Error string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("downloading %s: %w: %s", source, errors.Join(failure, err), stderr.Bytes())
	}
	if module.Error != "" {
		return "", fmt.Errorf("downloading %s: %s", source, module.Error)
	}
	if module.Sum != sourceHash {
		return "", fmt.Errorf("%s has the hash %s, want %s", source, module.Sum, sourceHash)
	}
	return filepath.Join(module.Dir, "pkg", "openapiclient", "builtins", kubernetes), nil
}
