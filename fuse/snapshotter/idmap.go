//go:build linux

package snapshotter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The labels by which containerd asks for mapped ids: CONTAINER:HOST:SIZE, several
// with commas in between.
const (
	labelUIDs = "containerd.io/snapshot/uidmapping"
	labelGIDs = "containerd.io/snapshot/gidmapping"
)

// idMapOptions are the mount options by which containerd is told to map ids
// itself: it puts an idmapped mount before the lower directories, and nothing is
// chowned. It does so for their common parent directory alone, without mounts
// below that; a view that is a mount of its own must therefore be its own parent,
// which "/." behind it does. Containerd asks this of a snapshotter only if its
// configuration says capabilities = ["remap-ids"].
func idMapOptions(labels map[string]string) (options []string) {
	if uids := labels[labelUIDs]; uids != "" {
		options = append(options, "uidmap="+uids)
	}
	if gids := labels[labelGIDs]; gids != "" {
		options = append(options, "gidmap="+gids)
	}
	return options
}

// mapped tells whether ids are.
func mapped(labels map[string]string) bool {
	return labels[labelUIDs] != "" || labels[labelGIDs] != ""
}

// outside are the ids that a user and group of a container have on the host.
func outside(labels map[string]string, uid, gid uint32) (uint32, uint32, error) {
	user, err := hostID(labels[labelUIDs], uid)
	if err != nil {
		return 0, 0, err
	}
	group, err := hostID(labels[labelGIDs], gid)
	return user, group, err
}

// hostID is what an id is mapped to; itself if nothing is said.
func hostID(mapping string, id uint32) (uint32, error) {
	if mapping == "" {
		return id, nil
	}
	for one := range strings.SplitSeq(mapping, ",") {
		var ids [3]uint64
		fields := strings.Split(one, ":")
		if len(fields) != len(ids) {
			return 0, fmt.Errorf("id mapping %.100q is not CONTAINER:HOST:SIZE: %w", one, errInvalid)
		}
		for i, field := range fields {
			n, err := strconv.ParseUint(field, 10, 32)
			if err != nil {
				return 0, fmt.Errorf("id mapping %.100q: %w: %w", one, err, errInvalid)
			}
			ids[i] = n
		}
		first, host, size := ids[0], ids[1], ids[2]
		if at := uint64(id) - first; uint64(id) >= first && at < size && host+at < math.MaxUint32 {
			return uint32(host + at), nil
		}
	}
	return 0, fmt.Errorf("id mapping %.100q does not say who %d is: %w", mapping, id, errInvalid)
}
