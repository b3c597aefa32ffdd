//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/treelist"
)

// marker is the variable that tells every process of this run from others: it
// holds the scratch directory.
const marker = "E2E_SHOAL_SCRATCH"

func TestMain(m *testing.M) {
	treelist.RunIfChild()
	runLoadIfChild()
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	if missing := missingParts(); len(missing) > 0 {
		fmt.Printf("SKIP: the end-to-end tests need %s\n", strings.Join(missing, ", "))
		return 0
	}
	// Short, for the paths of Unix sockets are bounded.
	scratch, err := os.MkdirTemp("", "e-")
	if err != nil {
		fmt.Println("making the scratch directory:", err)
		return 1
	}
	if err := errorsOf(os.Setenv(marker, scratch), build(filepath.Join(scratch, "bin"))); err != nil {
		fmt.Println(errors.Join(err, os.RemoveAll(scratch)))
		return 1
	}
	code := m.Run()
	if left := awaitNoLeaks(scratch); len(left) > 0 {
		fmt.Printf("FAIL: left behind:\n\t%s\n", strings.Join(left, "\n\t"))
		code = 1
	}
	if os.Getenv("E2E_SHOAL_KEEP") != "" {
		fmt.Println("kept:", scratch)
	} else if err := os.RemoveAll(scratch); err != nil {
		fmt.Println("removing the scratch directory:", err)
		code = 1
	}
	return code
}

func missingParts() []string {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, p := range []string{"go", "containerd", "ctr", "runc", "dockerd", "docker", "podman", "skopeo", "umoci", "docker-registry", "ip"} {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	return missing
}

// build compiles the programs under test, without cgo so that they are those
// that are released.
func build(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", "../../cmd/peer", "../../cmd/supernode", "../../cmd/lazyfs", cri.PauseProgram)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w: %s", err, out)
	}
	return nil
}

func program(name string) string { return filepath.Join(os.Getenv(marker), "bin", name) }

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
