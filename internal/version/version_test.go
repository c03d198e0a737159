package version

import (
	"os"
	"regexp"
	"testing"
)

func TestChangelogBeginsWithThisVersion(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	first := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\] - (Unreleased|\d{4}-\d{2}-\d{2})$`).FindSubmatch(text)
	if first == nil || string(first[1]) != Rollcall {
		t.Errorf("CHANGELOG.md begins with %q, want %s", first, Rollcall)
	}
}

func TestNpmPackageHasThisVersion(t *testing.T) {
	text, err := os.ReadFile("../../clients/js/package.json")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^  "version": "(.*)",$`).FindSubmatch(text)
	if version == nil || string(version[1]) != Rollcall {
		t.Errorf("clients/js/package.json has %q, want %s", version, Rollcall)
	}
}
