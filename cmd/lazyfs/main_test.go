//go:build linux

package main

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/assembly"
	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/cli/clitest"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/config/members"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/testimage"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"lazyfs": func() { os.Exit(run()) },
		"peer":   func() { os.Exit(cli.Main(peerRoot, os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// peerRoot is as much of the peer's program as a script needs.
func peerRoot() *cobra.Command {
	root := &cobra.Command{Use: "peer"}
	root.AddCommand(cli.Daemon[members.Peer]{
		Settings: cli.AddSettings(root, members.DefaultPeer, members.DefaultPeerFile,
			"data-dir=data_dir", "registry=registry.listen", "socket=admin.socket"),
		Run:    assembly.Peer,
		Common: func(c members.Peer) (config.Log, config.Memory, config.Admin) { return c.Log, c.Memory, c.Admin },
	}.ServeCommand())
	return root
}

// The scripts have, beyond clitest, the condition "mounts" and the image boot:1,
// which has busybox in it.
func TestScripts(t *testing.T) {
	params := clitest.Params(t)
	params.Condition = func(string) (bool, error) { return mountpoint.Privileged() == nil, nil }
	prepare := params.Setup
	params.Setup = func(env *testscript.Env) error {
		if err := prepare(env); err != nil {
			return err
		}
		env.Defer(func() { unmountBelow(t, env.WorkDir) })
		return pushBootable(env.Getenv("REGISTRY") + "/boot:1")
	}
	testscript.Run(t, params)
}

func pushBootable(image string) error {
	if mountpoint.Privileged() != nil {
		return nil // nobody will mount it
	}
	ctx := context.Background()
	img, err := testimage.Bootable(ctx, os.TempDir(), testimage.OCI, testimage.Gzip, testimage.Config{})
	if err != nil {
		return err
	}
	return testimage.Push(ctx, image, img)
}

// unmountBelow removes what a script that failed left mounted.
func unmountBelow(t *testing.T, dir string) {
	left, err := mountpoint.Below(dir)
	if err != nil {
		t.Error(err)
	}
	for _, m := range left {
		if err := mountpoint.Unmount(m.Point, true); err != nil {
			t.Error(err)
		}
	}
}
