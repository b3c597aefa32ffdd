//go:build linux

package layerstore

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// process is one that used a layer, for a storage that was not found out. Engines
// tell of a use when they find a layer, while they have no lock open, and of another
// when they take it into their storage.
type process struct {
	ID    int    `json:"id"`
	Start uint64 `json:"start"` // when it began, in the kernel's ticks
	Uses  int    `json:"uses"`
}

// processOf finds the process of a thread; its id is 0 if that has ended.
func processOf(thread uint32) process {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return process{}
	}
	_, rest, _ := strings.Cut(string(status), "\nTgid:")
	line, _, _ := strings.Cut(rest, "\n")
	id, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return process{}
	}
	return process{ID: id, Start: startOf(id)}
}

// startOf is when a process began; 0 if there is none.
func startOf(id int) uint64 {
	const start = 22 - 3 // in the fields of proc_pid_stat(5) behind the name
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) <= start {
		return 0
	}
	ticks, err := strconv.ParseUint(fields[start], 10, 64)
	if err != nil {
		return 0
	}
	return ticks
}

// same tells one and the same process.
func (p process) same(other process) bool { return p.ID == other.ID && p.Start == other.Start }

// remember notes whom a use came from: the storage, and so all that the process had
// used before, or the process.
func (r *record) remember(by process, storage string) {
	at := slices.IndexFunc(r.Processes, by.same)
	switch {
	case storage != "":
		if at >= 0 {
			r.Processes = slices.Delete(slices.Clone(r.Processes), at, at+1)
		}
		if !slices.Contains(r.Storages, storage) {
			r.Storages = append(slices.Clone(r.Storages), storage)
		}
	case at >= 0:
		r.Processes = slices.Clone(r.Processes)
		r.Processes[at].Uses++
	default:
		by.Uses = 1
		r.Processes = append(slices.Clone(r.Processes), by)
	}
}

// settle judges the processes that have ended: one that used the layer once has
// not taken it; one that did so twice has, into a storage that nobody knows. It
// tells whether all have.
func (r *record) settle() bool {
	var going []process
	for _, p := range r.Processes {
		switch {
		case p.ID != 0 && startOf(p.ID) == p.Start:
			going = append(going, p)
		case p.Uses > 1:
			r.Strange = true
		}
	}
	r.Processes = going
	return len(going) == 0
}
