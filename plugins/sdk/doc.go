// Package sdk creates new plugin projects: a template and the source of the SDK, for each language.
//
// The SDKs are in the subfolders. None of them is published, so a project gets a copy of its SDK:
// it builds without a network, and keeps building whatever happens to this repository.
//
// The Go SDK is its own module, which a package outside it cannot embed. The file go.txtar holds
// its files instead. A test compares the two, and writes the file with -update.
package sdk
