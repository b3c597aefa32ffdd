//go:build linux

package snapshotter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/api/types"
)

// chain is what lies below a snapshot.
type chain struct {
	ordinary []uint64  // ids, the newest first
	remote   *snapshot // the view that those lie on; nil for none
}

// below walks the parents down to the first remote one: that shows all the rest.
func (t tx) below(one *snapshot) (c chain, err error) {
	for parent := one.Parent; parent != ""; {
		p, err := t.get(parent)
		if err != nil {
			return c, err
		}
		if p.Remote != nil {
			c.remote = p
			return c, nil
		}
		c.ordinary = append(c.ordinary, p.ID)
		parent = p.Parent
	}
	return c, nil
}

// mounts are those of an active snapshot or view that is there already.
func (s *Snapshotter) mounts(ctx context.Context, key string) ([]*types.Mount, error) {
	ctx, cancel := s.during(ctx)
	defer cancel()
	var one *snapshot
	err := s.store.view(func(t tx) (err error) {
		one, err = t.get(key)
		return err
	})
	if err != nil {
		return nil, err
	}
	if one.Kind == kindCommitted {
		return nil, fmt.Errorf("snapshot %s is committed; only active ones and views are mounted: %w", key, errPrecondition)
	}
	return s.mountsOf(ctx, one, false)
}

// mountsOf says how a snapshot is mounted. What it lies on is held first, if the
// snapshot is new.
func (s *Snapshotter) mountsOf(ctx context.Context, one *snapshot, isNew bool) ([]*types.Mount, error) {
	var below chain
	err := s.store.view(func(t tx) (err error) {
		below, err = t.below(one)
		return err
	})
	if err != nil {
		return nil, err
	}
	lowers, err := s.lowers(ctx, one, below, isNew)
	if err != nil {
		return nil, err
	}
	ids := idMapOptions(one.Labels)
	switch {
	case len(lowers) == 0 && one.Kind == kindView:
		return bind(s.upper(one.ID), append(ids, "ro", "rbind")), nil
	case len(lowers) == 0:
		return bind(s.upper(one.ID), append(ids, "rw", "rbind")), nil
	case len(lowers) == 1 && one.Kind == kindView:
		return bind(lowers[0], append(ids, "ro", "rbind")), nil
	}
	options := ids
	if one.Kind == kindActive {
		options = append(options, "workdir="+s.work(one.ID), "upperdir="+s.upper(one.ID))
	}
	if len(ids) > 0 && below.remote != nil {
		if len(lowers) > 1 {
			return nil, fmt.Errorf("snapshot %s: ids cannot be mapped where unpacked layers lie on a lazy image: %w; unpack the image with the overlayfs snapshotter", one.Name, errPrecondition)
		}
		lowers[0] += "/." // see idMapOptions
	}
	options = append(options, "lowerdir="+strings.Join(lowers, ":"))
	return []*types.Mount{{Type: "overlay", Source: "overlay", Options: append(options, s.options...)}}, nil
}

func bind(dir string, options []string) []*types.Mount {
	return []*types.Mount{{Type: "bind", Source: dir, Options: options}}
}

// lowers are the directories below a snapshot, the uppermost first.
func (s *Snapshotter) lowers(ctx context.Context, one *snapshot, below chain, isNew bool) ([]string, error) {
	var dirs []string
	for _, id := range below.ordinary {
		dirs = append(dirs, s.upper(id))
	}
	if below.remote == nil {
		return dirs, nil
	}
	if isNew {
		if err := s.settle(ctx, below.remote); err != nil {
			return nil, err
		}
		if len(dirs) == 0 {
			if err := s.dress(one, below.remote); err != nil {
				return nil, err
			}
		}
	}
	view, err := s.viewDir(ctx, below.remote)
	if err != nil || len(dirs) == 0 {
		return append(dirs, view), err
	}
	// All in one directory: a mount has room for 4,096 bytes of options, and whoever
	// mounts makes room by leaving out what all paths begin with.
	link, err := s.link(below.remote.ID, view)
	return append(dirs, link), err
}

// viewDir is the directory of a view, which is held anew if the lazy file system
// does not know of it.
func (s *Snapshotter) viewDir(ctx context.Context, one *snapshot) (string, error) {
	dir, err := s.images.Lower(ctx, one.user())
	if err == nil {
		return dir, nil
	}
	if settled := s.settle(ctx, one); settled != nil {
		return "", settled
	}
	if dir, err = s.images.Lower(ctx, one.user()); err != nil {
		return "", fmt.Errorf("the view of layer %s: %w: %w", chainOf(one.Name), err, errUnavailable)
	}
	return dir, nil
}

// link makes a view's directory appear among those of the snapshots.
func (s *Snapshotter) link(id uint64, view string) (string, error) {
	link := s.upper(id)
	if now, err := os.Readlink(link); err == nil && now == view {
		return link, nil
	}
	if err := os.MkdirAll(s.dir(id), 0o700); err != nil {
		return "", fmt.Errorf("making a view's place: %w", err)
	}
	fresh, err := os.MkdirTemp(s.dir(id), "link-")
	if err != nil {
		return "", fmt.Errorf("making a view's place: %w", err)
	}
	defer os.RemoveAll(fresh)
	if err := os.Symlink(view, filepath.Join(fresh, "fs")); err != nil {
		return "", err
	}
	return link, os.Rename(filepath.Join(fresh, "fs"), link)
}
