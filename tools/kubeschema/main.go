// Command kubeschema checks manifests against the OpenAPI schemas of Kubernetes, without a cluster.
//
//	go run . ../../examples/kubernetes/*.yaml
//
// Unknown fields are errors, as with kubectl's --validate=strict, and so are duplicate keys. With
// -json, it prints the objects that it read, as an array.
//
// The schemas come from a release of kubectl-validate, a module that the go command downloads and
// compares with a hash. None of its code is built, because that takes minutes.
//
// The exit code is 1 if an object is wrong, and 2 if an object could not be checked.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const (
	exitWrong    = 1
	exitBadInput = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the command and returns its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("kubeschema", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print the objects as JSON")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitBadInput
	}
	if flags.NArg() == 0 {
		fmt.Fprintln(stderr, "kubeschema: no files to check")
		return exitBadInput
	}
	folder, err := download()
	if err != nil {
		fmt.Fprintln(stderr, "kubeschema:", err)
		return exitBadInput
	}

	s := newSchemas(folder)
	var objects []any
	wrong := false
	for _, name := range flags.Args() {
		found, err := read(name)
		for _, o := range found {
			if problem := s.check(o); problem != nil {
				err = errors.Join(err, problem)
			}
			objects = append(objects, o)
		}
		if err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			wrong = true
		}
	}
	if wrong {
		return exitWrong
	}
	if *asJSON {
		if err := json.NewEncoder(stdout).Encode(objects); err != nil {
			fmt.Fprintln(stderr, "kubeschema:", err)
			return exitBadInput
		}
		return 0
	}
	fmt.Fprintf(stdout, "%d objects are as Kubernetes %s wants them\n", len(objects), kubernetes)
	return 0
}
