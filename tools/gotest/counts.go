package main

import (
	"errors"
	"fmt"
)

// counts holds numbers of tests by result. A subtest counts as a test.
type counts struct {
	passed, failed, skipped int
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

func (c counts) plus(d counts) counts {
	return counts{c.passed + d.passed, c.failed + d.failed, c.skipped + d.skipped}
}

// verdict returns the reason why the run failed, or nil.
func (c counts) verdict() error {
	switch {
	case c.failed > 0:
		return fmt.Errorf("%d failed", c.failed)
	case c.skipped > 0:
		return fmt.Errorf("%d skipped, and a skipped test is a failure here", c.skipped)
	case c.passed == 0:
		return errors.New("no test was executed")
	}
	return nil
}
