//go:build linux

package snapshotter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/types"
)

// prepare makes an active snapshot or a view, or finds that it can be a remote
// one, which it says by errExists.
func (s *Snapshotter) prepare(ctx context.Context, kind, key, parent string, labels map[string]string) ([]*types.Mount, error) {
	ctx, cancel := s.during(ctx)
	defer cancel()
	var why *Reason
	if target := labels[LabelTarget]; target != "" && kind == kindActive {
		defer s.targets.take(target + " on " + parent)()
		var err error
		if why, err = s.prepareRemote(ctx, target, parent, labels); err != nil {
			return nil, err
		}
	}
	one := &snapshot{Name: key, Kind: kind, Parent: parent, Labels: labels, Why: why}
	if err := s.create(one); err != nil {
		return nil, err
	}
	mounts, err := s.mountsOf(ctx, one, true)
	if err != nil {
		return nil, errors.Join(err, s.remove(key))
	}
	if why != nil {
		s.metrics.ordinary.WithLabelValues(why.Class).Inc()
		s.log.Info("a layer is not lazy", "layer", labels[LabelTarget], "image", why.Image, "reason", why.Text)
	}
	return mounts, nil
}

// prepareRemote makes a layer's remote snapshot, which errExists tells, as it
// does if there was one. Otherwise it says why the layer must be ordinary.
func (s *Snapshotter) prepareRemote(ctx context.Context, target, parent string, labels map[string]string) (*Reason, error) {
	if found, err := s.findRemote(target, parent); err != nil || found {
		return nil, errors.Join(err, existsIf(found, target))
	}
	reference := imageRef(labels)
	if reference == "" {
		return &Reason{Class: ReasonUnlabelled, Text: unlabelledText}, nil
	}
	opened, err := s.open(ctx, reference)
	if err != nil {
		return nil, err
	}
	if opened.why != nil {
		return opened.why, nil
	}
	image := opened.image
	depth := depthOf(image.DiffIDs, target, parent)
	if depth == 0 {
		return &Reason{ReasonMismatch, fmt.Sprintf("none of the image's %d layers is %s on %q", len(image.DiffIDs), target, parent), reference}, nil
	}
	why, err := s.commitRemote(ctx, target, parent, labels, image, depth)
	if depth == len(image.DiffIDs) {
		s.letGoOf(opened)
	}
	return why, err
}

func existsIf(is bool, target string) error {
	if !is {
		return nil
	}
	return fmt.Errorf("layer %s is there: %w", target, errExists)
}

// findRemote tells whether a layer's remote snapshot is there, under any of the
// names that nameFor gives. containerd looks for it by label and parent, so both
// must be the same.
func (s *Snapshotter) findRemote(target, parent string) (found bool, err error) {
	err = s.store.view(func(t tx) error {
		cursor := t.snapshots.Cursor()
		for name, _ := cursor.Seek([]byte(target)); bytes.HasPrefix(name, []byte(target)) && !found; name, _ = cursor.Next() {
			one, err := t.get(string(name))
			if err != nil {
				return err
			}
			found = one.Remote != nil && one.Labels[LabelTarget] == target && one.Parent == parent
		}
		return nil
	})
	return found, err
}

// commitRemote makes a remote snapshot. Its view is held before it is durable, if
// it is the image's top.
func (s *Snapshotter) commitRemote(ctx context.Context, target, parent string, labels map[string]string, image *Image, depth int) (*Reason, error) {
	one := &snapshot{Kind: kindCommitted, Parent: parent, Labels: labels, Remote: &remote{Depth: depth, Top: depth == len(image.DiffIDs)}}
	if err := s.store.update(func(t tx) (err error) {
		one.ID, err = t.snapshots.NextSequence()
		return err
	}); err != nil {
		return nil, err
	}
	if one.Remote.Top {
		if err := s.hold(ctx, one.user(), image, depth); err != nil {
			s.metrics.holdErr.Inc()
			if ended := s.ended(ctx); ended != nil {
				return nil, ended
			}
			return &Reason{ReasonHold, fmt.Sprintf("the image cannot be kept: %v", err), image.Reference}, nil
		}
	}
	if err := s.store.update(func(t tx) error { return t.addRemote(one, target, image) }); err != nil {
		s.tidy(one)
		return nil, err
	}
	s.metrics.remote.Inc()
	s.log.Debug("a layer is lazy", "layer", target, "image", image.Reference, "depth", depth)
	return nil, existsIf(true, target)
}

// addRemote records a remote snapshot under a name that is free.
func (t tx) addRemote(one *snapshot, target string, image *Image) (err error) {
	if _, err := t.parentOf(one.Parent); err != nil {
		return err
	}
	if one.Name, err = t.nameFor(target, one.ID); err != nil {
		return err
	}
	one.Created = time.Now().UTC()
	one.Updated = one.Created
	if one.Remote.Image, err = t.keepImage(image, one.ID); err != nil {
		return err
	}
	return t.put(one)
}

// nameFor is the target itself, or with "#" and the id behind it if that name is
// taken: the same layer lies on another parent, which another namespace of
// containerd unpacked.
func (t tx) nameFor(target string, id uint64) (string, error) {
	err := t.free(target)
	if errors.Is(err, errExists) {
		target = fmt.Sprintf("%s#%d", target, id)
		err = t.free(target)
	}
	return target, err
}

// create records an ordinary snapshot, with its directory.
func (s *Snapshotter) create(one *snapshot) error {
	var made string
	err := s.store.update(func(t tx) error {
		parent, err := t.parentOf(one.Parent)
		if err != nil {
			return err
		}
		if err := t.free(one.Name); err != nil {
			return err
		}
		if one.ID, err = t.snapshots.NextSequence(); err != nil {
			return err
		}
		one.Created = time.Now().UTC()
		one.Updated = one.Created
		made = s.dir(one.ID)
		if err := s.makeDir(one, parent); err != nil {
			return err
		}
		return t.put(one)
	})
	if err != nil && made != "" {
		err = errors.Join(err, removeDir(made))
	}
	return err
}

// commit makes an active snapshot a committed one, with another name.
func (s *Snapshotter) commit(ctx context.Context, name, key, parent string, labels map[string]string) error {
	var one *snapshot
	err := s.store.view(func(t tx) (err error) {
		one, err = t.get(key)
		return err
	})
	if err != nil {
		return err
	}
	bytes, inodes, err := diskUsage(ctx, s.upper(one.ID))
	if err != nil && one.Kind == kindActive {
		return fmt.Errorf("measuring snapshot %s: %w", key, err)
	}
	var on *snapshot
	err = s.store.update(func(t tx) error {
		if err := t.free(name); err != nil {
			return err
		}
		one, err := t.get(key)
		if err != nil {
			return err
		}
		if one.Kind != kindActive {
			return fmt.Errorf("snapshot %s is not active: %w", key, errPrecondition)
		}
		if err := t.remove(one); err != nil {
			return err
		}
		if on, err = t.rebase(one, parent); err != nil {
			return err
		}
		one.Name, one.Kind, one.Labels, one.Size, one.Inodes = name, kindCommitted, labels, bytes, inodes
		one.Created = time.Now().UTC()
		one.Updated = one.Created
		return t.put(one)
	})
	if err == nil {
		s.tidy(on)
	}
	return err
}

// rebase gives a snapshot that has no parent one, and says which.
func (t tx) rebase(one *snapshot, parent string) (*snapshot, error) {
	if parent == "" || parent == one.Parent {
		return nil, nil
	}
	if one.Parent != "" {
		return nil, fmt.Errorf("snapshot %s lies on another one already: %w", one.Name, errInvalid)
	}
	one.Parent = parent
	return t.parentOf(parent)
}

// remove forgets a snapshot and deletes what it takes. What cannot be deleted now
// is at the next start.
func (s *Snapshotter) remove(key string) error {
	var one, parent *snapshot
	err := s.store.update(func(t tx) (err error) {
		if one, err = t.get(key); err != nil {
			return err
		}
		if len(t.childrenOf(one.ID)) > 0 {
			return fmt.Errorf("cannot remove snapshot %s, others are made on it: %w", key, errPrecondition)
		}
		if one.Parent != "" {
			if parent, err = t.get(one.Parent); err != nil {
				return err
			}
		}
		return t.remove(one)
	})
	if err != nil {
		return err
	}
	if err := removeDir(s.dir(one.ID)); err != nil {
		s.log.Warn("deleting a removed snapshot; it is tried again at the next start", "snapshot", key, "error", err)
	}
	s.tidy(one)
	if one.Remote == nil {
		s.tidy(parent)
	}
	return nil
}
