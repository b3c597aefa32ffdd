//go:build linux

package cri

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Overlay is the snapshotter that unpacks images.
const Overlay = "overlayfs"

// Containerd describes a containerd 1.6.
type Containerd struct {
	Dir         string            // of all its files; short enough for a socket
	Pause       string            // the image of pods' first processes
	Snapshotter string            // of pods' images; empty is [Overlay]
	Proxies     map[string]string // sockets of snapshotters that are other processes, by name
	NoPods      bool              // it answers ctr alone
}

const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = [%[2]s"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "%[1]s/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
`

const podsConfig = `[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[2]s"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "%[3]s"
  disable_snapshot_annotations = false
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  Root = "%[1]s/runc"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "%[1]s/certs.d"
`

// Socket is where it answers.
func (c Containerd) Socket() string { return filepath.Join(c.Dir, "c.sock") }

// Hosts is where it looks for how to reach registries.
func (c Containerd) Hosts() string { return filepath.Join(c.Dir, "certs.d") }

// ConfigFile is where [Containerd.Write] writes.
func (c Containerd) ConfigFile() string { return filepath.Join(c.Dir, "config.toml") }

// Write writes the configuration.
func (c Containerd) Write() error {
	snapshotter := c.Snapshotter
	if snapshotter == "" {
		snapshotter = Overlay
	}
	var text strings.Builder
	if c.NoPods {
		fmt.Fprintf(&text, containerdConfig, c.Dir, `"io.containerd.grpc.v1.cri", `)
	} else {
		fmt.Fprintf(&text, containerdConfig, c.Dir, "")
		fmt.Fprintf(&text, podsConfig, c.Dir, c.Pause, snapshotter)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Proxies)) {
		fmt.Fprintf(&text, "[proxy_plugins.%s]\n  type = \"snapshot\"\n  address = %q\n", name, c.Proxies[name])
	}
	return write(c.ConfigFile(), text.String())
}

// Mirror has all that lies at a registry asked of a mirror, over plain HTTP.
func (c Containerd) Mirror(registry, mirror string) error {
	return write(filepath.Join(c.Hosts(), registry, "hosts.toml"), fmt.Sprintf(
		"server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror))
}

func write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}
