//go:build e2e && linux

package e2e

import (
	"fmt"
	"testing"
)

// podman is a storage of its own; there is no daemon.
type podman struct {
	dir string
	env []string
}

// mirroredName is a registry that nothing resolves, so that a pull which passes
// its mirror by fails.
const mirroredName = "mirrored.test"

const registriesConf = `unqualified-search-registries = []
[[registry]]
prefix = "%[1]s"
location = "%[1]s"
[[registry.mirror]]
location = "%[2]s"
insecure = true
`

// newPodman has the registry mirroredName mirrored at location.
func newPodman(t *testing.T, location string) *podman {
	t.Helper()
	p := &podman{dir: directory(t)}
	writeFile(t, p.dir+"/registries.conf", fmt.Sprintf(registriesConf, mirroredName, location))
	writeFile(t, p.dir+"/policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	p.env = []string{"CONTAINERS_REGISTRIES_CONF=" + p.dir + "/registries.conf", "HOME=" + p.dir, "XDG_RUNTIME_DIR=" + p.dir + "/run"}
	t.Cleanup(func() { unmountUnder(t, p.dir); removeGroups() })
	return p
}

func (p *podman) run(t *testing.T, args ...string) string {
	t.Helper()
	base := []string{"podman", "--root", p.dir + "/root", "--runroot", p.dir + "/runroot", "--tmpdir", p.dir + "/tmp",
		"--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--runtime", "runc", "--events-backend=none"}
	return command(t, p.env, append(base, args...)...)
}
