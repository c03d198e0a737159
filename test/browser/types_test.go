package browser

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TypeScript accepts the types of the client as a page uses them.
func TestTypes(t *testing.T) {
	for _, name := range []string{"testdata/types.ts", root + "/clients/js/rollcall.d.ts"} {
		if _, err := os.ReadFile(name); err != nil { // so that go test reruns when a file changes
			t.Fatal(err)
		}
	}
	tsc := filepath.Join(packages(t), "typescript", "bin", "tsc")
	out, err := exec.Command("node", tsc, "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom",
		"--module", "nodenext", "--types", "", filepath.Join("testdata", "types.ts")).CombinedOutput()
	if err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

// checkPackageTypes checks the types of the installed package, as ES modules and as CommonJS.
func checkPackageTypes(t *testing.T, installed string) {
	project := newProject(t, installed, "testdata/types", "@types/react", "react", "ws")
	tsc := filepath.Join(packages(t), "typescript", "bin", "tsc")
	cmd := exec.Command("node", tsc, "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--jsx", "react-jsx",
		"--module", "nodenext", "--types", "", "hooks.tsx", "commonjs.cts")
	cmd.Dir = project
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}
