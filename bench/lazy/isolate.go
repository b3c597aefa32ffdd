//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/bench/system"
)

// isolated marks a process that has a mount namespace of its own.
const isolated = "SHOAL_BENCH_ISOLATED=1"

// isolate starts this program again, as the same process, in a mount namespace of
// its own, so that no mount outlives it or is seen elsewhere. It returns at once
// in a process that has one.
func isolate() error {
	for _, variable := range os.Environ() {
		if variable == isolated {
			return nil
		}
	}
	runtime.LockOSThread() // exec keeps the calling thread's namespace
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("making a mount namespace (root is needed): %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return fmt.Errorf("starting again: %w", unix.Exec(self, os.Args, append(os.Environ(), isolated)))
}

// scratchPrefix begins the names of scratch directories; the process follows.
const scratchPrefix = "shoal-lazy-"

// newScratch makes a directory for all that is on a real disk, after removing
// what processes that are gone have left there.
func newScratch(below string) (string, error) {
	if err := sweep(below); err != nil {
		return "", fmt.Errorf("removing what an earlier run left: %w", err)
	}
	return os.MkdirTemp(below, fmt.Sprintf("%s%d-", scratchPrefix, os.Getpid()))
}

func sweep(below string) error {
	left, err := filepath.Glob(filepath.Join(below, scratchPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range left {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), scratchPrefix), "-")
		pid, err := strconv.Atoi(text)
		if err != nil || pid != os.Getpid() && unix.Kill(pid, 0) == nil {
			continue
		}
		errs = append(errs, removeScratch(dir))
	}
	return errors.Join(errs...)
}

// removeScratch never deletes through a mount.
func removeScratch(dir string) error {
	if err := system.UnmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
