//go:build linux

package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Whether a remote snapshot holds its view follows from the records alone: it
// does if it is all of its image, or if anything not remote is made on it. So
// settling may be repeated, and is what a start does for all.

// settle holds a remote snapshot's view if it is needed, and lets go of it if not.
func (s *Snapshotter) settle(ctx context.Context, one *snapshot) error {
	defer s.holds.take(one.user())()
	var needed bool
	var image *Image
	err := s.store.view(func(t tx) (err error) {
		if needed, err = t.needed(one); err != nil || !needed {
			return err
		}
		image, err = t.image(one.Remote.Image)
		return err
	})
	if err == nil && needed {
		if err = s.hold(ctx, one.user(), image, one.Remote.Depth); err != nil {
			err = fmt.Errorf("the image of layer %s must be there for what is made on it: %w: %w; make the peer and its supernode reachable, or remove the image and pull it again",
				chainOf(one.Name), err, errUnavailable)
		}
	} else if err == nil {
		err = s.images.Release(ctx, one.user())
	}
	if err != nil {
		s.metrics.holdErr.Inc()
	}
	return err
}

// hold holds a view. Whoever waits for the same one meanwhile, which may be all of
// containerd, waits no longer than patience lasts.
func (s *Snapshotter) hold(ctx context.Context, user string, image *Image, depth int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Patience, errPatience)
	defer cancel()
	err := s.images.Hold(ctx, user, image, depth)
	if err != nil && context.Cause(ctx) == errPatience {
		return fmt.Errorf("%w (%v)", errPatience, s.cfg.Patience)
	}
	return err
}

// needed tells whether a remote snapshot's view is.
func (t tx) needed(one *snapshot) (bool, error) {
	now, err := t.get(one.Name)
	if errors.Is(err, errNotFound) || err == nil && now.ID != one.ID {
		return false, nil
	}
	if err != nil || now.Remote.Top {
		return err == nil, err
	}
	for _, name := range t.childrenOf(one.ID) {
		child, err := t.get(name)
		if err != nil || child.Remote == nil {
			return err == nil, err
		}
	}
	return false, nil
}

// tidyPatience bounds what a removal, or a start, waits for its views.
const tidyPatience = 10 * time.Second

// tidy is settle where a failure changes nothing: the next start repeats it.
func (s *Snapshotter) tidy(one *snapshot) {
	if one == nil || one.Remote == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, tidyPatience)
	defer cancel()
	if err := s.settle(ctx, one); err != nil {
		s.log.Warn("an image's view is not settled", "snapshot", one.Name, "error", err)
	}
}

// reconcile brings what is held and what lies on the disk in line with the
// records, after whatever end the last process had.
func (s *Snapshotter) reconcile() error {
	if err := s.cleanup(); err != nil {
		return err
	}
	held := s.images.Users()
	var missing []*snapshot
	unneeded := map[string]bool{}
	for _, user := range held {
		unneeded[user] = strings.HasPrefix(user, userPrefix)
	}
	err := s.store.view(func(t tx) error {
		return t.each(func(one *snapshot) error {
			if one.Remote == nil {
				return nil
			}
			needed, err := t.needed(one)
			if needed {
				unneeded[one.user()] = false
			}
			if needed && !slices.Contains(held, one.user()) {
				missing = append(missing, one)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	for user, is := range unneeded {
		if is {
			s.letGo(user)
		}
	}
	if len(missing) > 0 {
		s.tasks.Go(func() { s.holdAgain(missing) })
	}
	return nil
}

// letGo releases what no snapshot shows.
func (s *Snapshotter) letGo(user string) {
	ctx, cancel := context.WithTimeout(s.ctx, tidyPatience)
	defer cancel()
	if err := s.images.Release(ctx, user); err != nil {
		s.metrics.holdErr.Inc()
		s.log.Warn("letting go of an image that no snapshot shows", "user", user, "error", err)
	}
}

// holdAgain holds what should be and is not: the lazy file system lost its
// records. Mounts tries again what fails here.
func (s *Snapshotter) holdAgain(missing []*snapshot) {
	for _, one := range missing {
		s.log.Warn("an image is not held that a snapshot shows; holding it again", "snapshot", one.Name)
		if err := s.settle(s.ctx, one); err != nil && s.ctx.Err() == nil {
			s.log.Error("an image cannot be held that a snapshot shows", "snapshot", one.Name, "error", err)
		}
	}
}
