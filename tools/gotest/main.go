// Command gotest runs "go test" with stricter rules: a skipped test is a failure, and so is a run
// without tests. A test that cannot run should fail. caddytest, for one, skips every test if its
// Caddy does not start, which would otherwise go unnoticed.
//
//	gotest [-name race] [-report FILE] -- [go test arguments]
//	gotest [-name fuzz] [-report FILE] -fuzztime 30s -- packages
//	gotest -report FILE -total
//
// The second form runs each fuzz target of the packages for the given time. With -report, gotest
// appends a line with the counts to the file; -total prints the sum of these lines.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	name := flag.String("name", "test", "`name` of this run in the report")
	report := flag.String("report", "", "`file` to add the counts of this run to")
	total := flag.Bool("total", false, "print the report and its sum, and run nothing")
	fuzztime := flag.String("fuzztime", "", "run the fuzz targets of the packages for this `time` each")
	flag.Parse()

	if *total {
		sum, err := printReport(os.Stdout, *report)
		exit(sum, err)
	}
	start := time.Now()
	var c counts
	var err error
	if *fuzztime != "" {
		c, err = fuzzAll(os.Stdout, *fuzztime, flag.Args())
	} else {
		c, err = goTest(os.Stdout, flag.Args())
	}
	fmt.Println(c)
	if *report != "" {
		if err := addToReport(*report, *name, c, time.Since(start)); err != nil {
			fmt.Fprintln(os.Stderr, "gotest:", err)
			os.Exit(1)
		}
	}
	exit(c, err)
}

// exit ends the program, with code 0 only if tests ran, none was skipped, and none failed.
func exit(c counts, err error) {
	if err == nil {
		err = c.verdict()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
