//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/shoal-project/shoal/internal/testimage"
)

// change is what a program does in a writable mount: it reads the image, adds,
// replaces and removes.
const change = inside + `
echo new > /tmp/added && echo other > /etc/passwd && rm /gone/above && mkdir /fresh && chown 7:8 /fresh
[ "$(busybox cat /tmp/added)" = new ]`

func TestWritableMountRunsPrograms(t *testing.T) {
	s := startSite(t)
	node := s.node(t)
	name := s.push(t, "boot/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "rw"))
	t.Run("chroot", func(t *testing.T) {
		dir := node.mount(t, name, "--rw")
		if out := command(t, nil, "chroot", dir, "/bin/busybox", "sh", "-c", change); out != "it runs\n" {
			t.Errorf("it says %q", out)
		}
		node.unmount(t, dir)
		nothingIn(t, node.dir+"/data/scratch")
	})
	t.Run("runc", func(t *testing.T) {
		bundle, state := directory(t), directory(t)
		dir := node.mount(t, name, "--rw", "--scratch", directory(t))
		writeFile(t, bundle+"/config.json", runcConfig(t, dir))
		t.Cleanup(removeGroups)
		if out := command(t, nil, "runc", "--root", state, "run", "--bundle", bundle, "lazy"); out != "it runs\n" {
			t.Errorf("it says %q", out)
		}
		scratch := filepath.Dir(node.image(t, dir).Mounts[0].Scratch)
		if text, err := os.ReadFile(dir + "/tmp/added"); err != nil || string(text) != "new\n" {
			t.Errorf("what it wrote reads %q, %v", text, err)
		}
		node.unmount(t, dir)
		nothingIn(t, scratch)
	})
	dir := node.mount(t, name)
	if out := command(t, nil, "chroot", dir, "/bin/busybox", "sh", "-c", inside); out != "it runs\n" {
		t.Errorf("afterwards it says %q", out)
	}
	if _, err := try(t, nil, "touch", dir+"/new"); err == nil {
		t.Error("a mount without --rw can be written")
	}
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	if left := must(os.ReadDir(dir))(t); len(left) > 0 {
		t.Errorf("%s is left in %s", left[0].Name(), dir)
	}
}

// runcConfig is the engine's own example, with another program.
func runcConfig(t *testing.T, root string) string {
	t.Helper()
	dir := directory(t)
	command(t, nil, "runc", "spec", "--bundle", dir)
	var spec map[string]any
	if err := json.Unmarshal(must(os.ReadFile(dir+"/config.json"))(t), &spec); err != nil {
		t.Fatal(err)
	}
	process := spec["process"].(map[string]any)
	process["terminal"] = false
	process["args"] = []string{"sh", "-c", change}
	process["env"] = []string{"PATH=/bin"}
	delete(process, "rlimits")
	// chown is more than the example allows
	all := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"}
	process["capabilities"] = map[string]any{"bounding": all, "effective": all, "permitted": all}
	spec["root"] = map[string]any{"path": root}
	spec["linux"].(map[string]any)["cgroupsPath"] = "/" + groupName() + "/lazy"
	return string(must(json.Marshal(spec))(t))
}
