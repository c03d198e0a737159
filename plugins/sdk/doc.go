// Package sdk makes new plugin projects: a template and the source of the SDK, for each of the languages.
//
// The SDKs are the folders beside this file, and a project gets a copy of its SDK, because none of them is published:
// it builds without a network, and goes on to build whatever becomes of this repository.
//
// The Go SDK is a module of its own, which a package outside of it cannot embed. The file go.txtar holds its files; a
// test compares the two, and writes the file with -update.
package sdk
