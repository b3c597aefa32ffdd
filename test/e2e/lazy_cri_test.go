//go:build e2e && linux

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/testimage"
)

// pause is the image of pods' first processes, at a registry.
func pause(t testing.TB, registry string) string {
	t.Helper()
	return pushed(t, registry, "cluster/pause:v1", must(cri.Pause(program("pause")))(t))
}

// pod runs a pod.
func (c *containerd) pod(t testing.TB, name string) *cri.Pod {
	t.Helper()
	return must(c.pods.RunPod(t.Context(), cri.PodConfig{
		Name: name, LogDir: filepath.Join(c.config.Dir, "pods", name), Cgroups: "/" + groupName(),
	}))(t)
}

// says runs a container of a pod to its end, which must be a good one, and
// returns what it printed.
func says(t testing.TB, pod *cri.Pod, config cri.ContainerConfig) string {
	t.Helper()
	c := must(pod.Start(t.Context(), config))(t)
	code := must(c.Wait(t.Context()))(t)
	if out := must(c.Output("stderr"))(t); code != 0 || out != "" {
		t.Errorf("%s of %s ended with %d: %s", config.Name, config.Image, code, out)
	}
	return must(c.Output("stdout"))(t)
}

func TestPodsRunEagerly(t *testing.T) {
	s := startSite(t)
	p := startPeer(t, loopback(), s.super, s.reach)
	c := startContainerd(t, cri.Containerd{Pause: pause(t, s.registry.Host())}, p.registry, s.registry.Host())
	name := s.push(t, "boot/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "pod"))
	must(c.pods.Pull(t.Context(), name))(t)
	pod := c.pod(t, "one")
	if out := says(t, pod, cri.ContainerConfig{Name: "c", Image: name, Command: []string{"sh", "-c", inside}}); out != "it runs\n" {
		t.Errorf("it says %q", out)
	}
	if err := pod.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}
