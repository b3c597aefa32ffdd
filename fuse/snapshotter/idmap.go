//go:build linux

package snapshotter

import (
	"fmt"
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

// mappedRoot is whom the container's root is on the host, if ids are mapped.
func mappedRoot(labels map[string]string) (uid, gid int, mapped bool, err error) {
	uids, gids := labels[labelUIDs], labels[labelGIDs]
	if uids == "" && gids == "" {
		return 0, 0, false, nil
	}
	if uid, err = hostRoot(uids); err == nil {
		gid, err = hostRoot(gids)
	}
	return uid, gid, true, err
}

// hostRoot is what 0 is mapped to; itself if nothing is said.
func hostRoot(mapping string) (int, error) {
	if mapping == "" {
		return 0, nil
	}
	for one := range strings.SplitSeq(mapping, ",") {
		var ids [3]uint64
		fields := strings.Split(one, ":")
		if len(fields) != len(ids) {
			return 0, fmt.Errorf("id mapping %.100q is not CONTAINER:HOST:SIZE: %w", one, errInvalid)
		}
		for i, field := range fields {
			id, err := strconv.ParseUint(field, 10, 32)
			if err != nil {
				return 0, fmt.Errorf("id mapping %.100q: %w: %w", one, err, errInvalid)
			}
			ids[i] = id
		}
		if ids[0] == 0 && ids[2] > 0 && ids[1] < 1<<32-1 {
			return int(ids[1]), nil
		}
	}
	return 0, fmt.Errorf("id mapping %.100q does not say who root is: %w", mapping, errInvalid)
}
