// Package version names the release.
package version

// Rollcall is the semantic version of this source tree (https://semver.org). The first section of
// CHANGELOG.md has it, too; a test compares them.
const Rollcall = "1.0.0"
