//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/reader"
	"github.com/shoal-project/shoal/bench/system"
	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/testimage"
)

// podGroup begins the names of the pods' control groups.
const podGroup = "shoal-bench"

// podImages are what containers are started from.
var podImages = []string{imagePython, imageGo, imageSmallShell, imageLargeShell}

// pods measures the time from a kubelet's order to pull an image to a container's
// first output, with the node's pod running already, as it does when a kubelet pulls.
func (b *bench) pods(ctx context.Context) error {
	for _, image := range podImages {
		for _, name := range []string{wayLazy, wayNothing, wayContainerd} {
			w := &podWay{b: b, dir: filepath.Join(b.scratch, "pod")}
			if name != wayContainerd {
				w.lazy = b.way(name).(*lazyWay)
			}
			do := func(ctx context.Context, _ string) (reader.Result, error) {
				return reader.Result{}, w.first(ctx, image)
			}
			if err := b.onceBy(ctx, w, workPods, name, image, do, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// podWay has an image's tree in a container of a pod, by the lazy file system's
// snapshotter or by overlayfs.
type podWay struct {
	b          *bench
	dir        string
	lazy       *lazyWay // nil: unpacked to overlayfs
	containerd *system.Containerd
	pod        *cri.Pod
	reference  string
}

func (w *podWay) prepare(ctx context.Context) (err error) {
	registry := w.b.registry.Addr().String()
	config := cri.Containerd{Dir: filepath.Join(w.dir, "containerd"), Pause: w.b.subjects[imagePause].reference}
	mirror := registry
	if w.lazy != nil {
		if err := w.lazy.prepare(ctx); err != nil {
			return err
		}
		config.Snapshotter, mirror = "shoal", w.lazy.node.Registry()
		config.Proxies = map[string]string{config.Snapshotter: w.lazy.node.Snapshotter()}
	}
	if err := config.Mirror(registry, mirror); err != nil {
		return err
	}
	if w.containerd, err = system.StartContainerd(ctx, w.b.node, config); err != nil {
		return err
	}
	w.pod, err = w.containerd.Pods.RunPod(ctx, cri.PodConfig{Name: "measured", LogDir: filepath.Join(w.dir, "logs"), Cgroups: "/" + podGroup})
	return err
}

// open pulls the image; its tree is the container's own.
func (w *podWay) open(ctx context.Context, s *subject) (string, error) {
	w.reference = s.reference
	_, err := w.containerd.Pods.Pull(ctx, s.reference)
	return "", err
}

// first starts a container and waits for its first line, and that is all that it
// waits for.
func (w *podWay) first(ctx context.Context, image string) error {
	job := podProgram(image)
	c, err := w.pod.Start(ctx, cri.ContainerConfig{Name: "c", Image: w.reference, Command: job.Command, Env: job.Env, Dir: "/" + job.Dir})
	if err != nil {
		return err
	}
	line, err := c.First(ctx)
	if err == nil && line.Stream != "stdout" {
		err = fmt.Errorf("a container of %s complains: %s", image, line.Text)
	}
	return err
}

func (w *podWay) daemons() map[string]*lab.Process {
	all := map[string]*lab.Process{}
	if w.lazy != nil {
		all = w.lazy.daemons()
	}
	all[cpuContainerd] = w.containerd.Process
	return all
}

func (w *podWay) close() error {
	var errs []error
	if w.pod != nil {
		errs = append(errs, w.pod.Remove(context.Background()))
	}
	if w.containerd != nil {
		errs = append(errs, w.containerd.Stop())
	}
	if w.lazy != nil {
		errs = append(errs, w.lazy.close())
	}
	cri.RemoveGroups(podGroup)
	return errors.Join(append(errs, removeScratch(w.dir))...)
}

// podProgram is what a container of an image runs; it prints a line.
func podProgram(image string) reader.Job {
	switch image {
	case imageSmallShell:
		return reader.Job{Command: []string{"/bin/sh", "-c", "busybox cat /" + filepath.Dir(smallName(0)) + "/* | busybox wc -c"}}
	case imageLargeShell:
		return reader.Job{Command: []string{"/bin/sh", "-c", "busybox tail -c 1048576 /" + largeFile + " | busybox wc -c"}}
	}
	job := program(image)
	if image == imageGo { // to build alone prints nothing
		job.Command = []string{"/usr/local/go/bin/go", "run", "."}
	}
	return job
}

// withShell is an image with a layer on top that has a shell and little tools.
func (w *workshop) withShell(ctx context.Context, base string) (v1.Image, error) {
	img, err := w.image(ctx, base)
	if err != nil {
		return nil, err
	}
	boot, err := testimage.Bootable(ctx, w.tmp, testimage.OCI, testimage.Gzip, testimage.Config{})
	if err != nil {
		return nil, err
	}
	layers, err := boot.Layers()
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, layers[0])
}

// pause is the image of a pod's first process.
func (w *workshop) pause(ctx context.Context) (v1.Image, error) {
	program := filepath.Join(w.tmp, "pause")
	if err := system.BuildProgram(ctx, cri.PauseProgram, program); err != nil {
		return nil, err
	}
	return cri.Pause(program)
}
