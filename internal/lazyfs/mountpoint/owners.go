//go:build linux

package mountpoint

import (
	"fmt"
	"strconv"
	"strings"
)

// Owners says as whose a mount shows files: user and group ids are mapped for a
// user namespace, and nothing is chowned. Each map is ranges joined by commas,
// "0:100000:65536": the first id inside the namespace (and in the image), the
// first outside (on this machine), and how many. Of two maps, an empty one is as
// the other; the zero value maps nothing.
type Owners struct {
	UIDs string `json:"uids,omitempty"`
	GIDs string `json:"gids,omitempty"`
}

// idRange is size ids from inside on, shown as those from outside on.
type idRange struct{ inside, outside, size int }

// The kernel's bounds: (uid_t)-1 is no id, and a map has at most 340 ranges.
const (
	maxID     = 1<<32 - 2
	maxRanges = 340
)

// None tells that nothing is mapped.
func (o Owners) None() bool { return o == Owners{} }

// String is for people.
func (o Owners) String() string {
	if o.UIDs == o.GIDs || o.UIDs == "" || o.GIDs == "" {
		return max(o.UIDs, o.GIDs)
	}
	return "users " + o.UIDs + ", groups " + o.GIDs
}

// Validate refuses maps that the kernel would.
func (o Owners) Validate() error {
	if o.None() {
		return nil
	}
	_, _, err := o.ranges()
	return err
}

// ranges parses both maps.
func (o Owners) ranges() (users, groups []idRange, err error) {
	if o.UIDs == "" {
		o.UIDs = o.GIDs
	}
	if o.GIDs == "" {
		o.GIDs = o.UIDs
	}
	if users, err = parseRanges(o.UIDs); err != nil {
		return nil, nil, fmt.Errorf("the map of user ids: %w", err)
	}
	if groups, err = parseRanges(o.GIDs); err != nil {
		return nil, nil, fmt.Errorf("the map of group ids: %w", err)
	}
	return users, groups, nil
}

func parseRanges(text string) ([]idRange, error) {
	var all []idRange
	for part := range strings.SplitSeq(text, ",") {
		r, err := parseRange(part)
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if overlap(r.inside, other.inside, r.size, other.size) || overlap(r.outside, other.outside, r.size, other.size) {
				return nil, fmt.Errorf("%q has ids that another range has, too", part)
			}
		}
		if all = append(all, r); len(all) > maxRanges {
			return nil, fmt.Errorf("there are more than %d ranges", maxRanges)
		}
	}
	return all, nil
}

func overlap(a, b, sizeA, sizeB int) bool { return a < b+sizeB && b < a+sizeA }

func parseRange(text string) (r idRange, err error) {
	fields := strings.Split(text, ":")
	if len(fields) != 3 {
		return r, fmt.Errorf("%q is not a range; write INSIDE:OUTSIDE:COUNT, such as 0:100000:65536", text)
	}
	for i, into := range []*int{&r.inside, &r.outside, &r.size} {
		n, err := strconv.ParseUint(fields[i], 10, 32)
		if err != nil {
			return r, fmt.Errorf("%q in %q is not a number of an id", fields[i], text)
		}
		*into = int(n)
	}
	if r.size == 0 || r.inside+r.size-1 > maxID || r.outside+r.size-1 > maxID {
		return r, fmt.Errorf("%q has no ids, or some above %d", text, maxID)
	}
	return r, nil
}

// Outside are the ids on this machine of a user and a group of the image.
func (o Owners) Outside(uid, gid uint32) (user, group int, err error) {
	if o.None() {
		return int(uid), int(gid), nil
	}
	users, groups, err := o.ranges()
	if err != nil {
		return 0, 0, err
	}
	user, known := outside(users, int(uid))
	group, knownGroup := outside(groups, int(gid))
	if !known || !knownGroup {
		return 0, 0, fmt.Errorf("the maps of ids leave out %d:%d, the owner of the image's root; map it, too", uid, gid)
	}
	return user, group, nil
}

func outside(all []idRange, id int) (int, bool) {
	for _, r := range all {
		if id >= r.inside && id < r.inside+r.size {
			return r.outside + id - r.inside, true
		}
	}
	return 0, false
}
