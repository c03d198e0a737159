package dist

import (
	"os"
	"strings"
	"testing"
)

// TestDockerfileSaysWhereItsFilesAreFrom: "make dist" writes the binaries alone, so the comment has
// the commands that make the rest of what the image copies from bin/dist.
func TestDockerfileSaysWhereItsFilesAreFrom(t *testing.T) {
	text, err := os.ReadFile("../../packaging/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var comment strings.Builder
	var copied []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			comment.WriteString(line)
		}
		if words := strings.Fields(line); len(words) > 2 && words[0] == "COPY" {
			copied = append(copied, words[len(words)-2])
		}
	}
	if len(copied) < 3 || copied[0] != "${BINARY}" {
		t.Fatalf("the image copies %q", copied)
	}
	for _, name := range copied[1:] {
		if c := comment.String(); !strings.Contains(c, "bin/dist/"+name) && !strings.Contains(c, name+" bin/dist/") {
			t.Errorf("no command puts %s into bin/dist", name)
		}
	}
}
