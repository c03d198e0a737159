package assignment_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rollcall-gateway/rollcall/presence"
	"github.com/rollcall-gateway/rollcall/presence/assignment"
)

func Example() {
	dir, err := os.MkdirTemp("", "assignments-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, err := assignment.OpenFile(filepath.Join(dir, "assignments.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	book := assignment.NewBook(1, func(host presence.HostName, user string, channels []string) {
		fmt.Println(host, user, channels)
	})
	if err := book.Attach(file); err != nil {
		log.Fatal(err)
	}

	portal, err := presence.ParseHostName("portal.example.com")
	if err != nil {
		log.Fatal(err)
	}
	records, err := book.Assign(portal, []assignment.Wish{
		{User: "ada", Channels: []assignment.Assignment{{Channel: "sales", Mode: assignment.Listen}}},
	}, 128)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(book.Mode(portal, "ada", "sales"))

	// Another pod merges the records, in any order.
	other := assignment.NewBook(2, nil)
	_, _ = other.Merge(records) // it has no store to keep them
	fmt.Println(other.Of(portal, "ada"), *other.Sums(nil) == *book.Sums(nil))
	// Output:
	// portal.example.com ada [sales]
	// listen
	// [{sales listen}] true
}
