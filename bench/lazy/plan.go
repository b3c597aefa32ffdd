//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// needed are the images that the chosen workloads need, each once.
func (o options) needed() []string {
	var names []string
	need := func(more ...string) {
		for _, name := range more {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for work, images := range map[string][]string{
		workStart: {imagePython, imageGo}, workTree: {imagePython, imageGo, imageSmall}, workFile: {imageLarge, imagePlain},
		workSmall: {imageSmall}, workWarm: {imageLarge, imageGo, imageSmall}, workMount: {imageMany},
		workPods: append([]string{imagePause}, podImages...), workMemory: tenImages(), workUpgrade: {imagePython, imagePythonNew, imageGo, imageGoNew},
	} {
		if o.wants(work) {
			need(images...)
		}
	}
	slices.Sort(names) // so that a first version is made known before the second
	return names
}

// tenImages are those of the memory workload.
func tenImages() []string {
	names := []string{imagePython, imagePythonNew, imageGo, imageGoNew, imageSmall, imageLarge, imageMany}
	for i := range moreImages {
		names = append(names, imageMore+strconv.Itoa(i))
	}
	return names
}

// all runs the workloads: those of the link at each rate, the ways taking turns,
// then the others.
func (b *bench) all(ctx context.Context) error {
	for _, rate := range b.options.rates {
		if !b.options.wants(shapedWorkloads...) {
			break
		}
		if err := b.setRate(ctx, rate); err != nil {
			return err
		}
		for range b.options.runs {
			if err := b.chosen(ctx, map[string]func(context.Context) error{
				workStart: b.start, workTree: b.tree, workFile: b.file, workSmall: b.small, workPods: b.pods,
			}); err != nil {
				return err
			}
		}
	}
	if err := b.setRate(ctx, b.options.rates[0]); err != nil {
		return err
	}
	return b.chosen(ctx, map[string]func(context.Context) error{
		workWarm: b.warm, workMount: b.mount, workMemory: b.memory, workUpgrade: b.upgrade,
	})
}

// chosen runs those of the workloads that were asked for, in the order of
// [allWorkloads].
func (b *bench) chosen(ctx context.Context, works map[string]func(context.Context) error) error {
	for _, name := range allWorkloads {
		if do := works[name]; do != nil && b.options.wants(name) {
			if err := do(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// memoryOf reads what /proc tells of a process's memory, in bytes.
func memoryOf(pid int) (map[string]float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		number, isSize := strings.CutSuffix(strings.TrimSpace(rest), " kB")
		if kib, err := strconv.ParseFloat(number, 64); isSize && err == nil {
			found[name] = kib * 1024
		}
	}
	return found, nil
}
