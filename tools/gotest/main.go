// Command gotest runs "go test" and is stricter about the result: a skipped test is a failure, and so is a run that
// executed no test. A test that cannot run where it is should say so by failing; caddytest for one skips every test
// when its Caddy does not start, which would otherwise pass unseen.
//
//	gotest [-name race] [-report FILE] -- [go test arguments]
//	gotest [-name fuzz] [-report FILE] -fuzztime 30s -- packages
//	gotest -report FILE -total
//
// The second form finds the fuzz targets of the packages and runs each for the given time. With -report, a line with
// the counts is added to the file, and -total prints what such lines add up to.
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

// exit ends the program with 0 only when tests were run, none was skipped, and none failed.
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
