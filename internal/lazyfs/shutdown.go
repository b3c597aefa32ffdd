//go:build linux

package lazyfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ShutdownOrder asks the daemon to end and to leave no mount. The records stay:
// the next daemon mounts the same again.
type ShutdownOrder struct {
	// Force unmounts what is in use, too.
	Force bool `json:"force,omitempty"`
	// Native unmounts what the kernel serves itself, too.
	Native bool `json:"native,omitempty"`
}

// EndingDaemon is the answer to an order to end.
type EndingDaemon struct {
	// DataDir is locked until the daemon has ended.
	DataDir string `json:"data_dir"`
}

// Ending ends when somebody ordered the daemon to end; its owner then calls Stop.
func (d *Daemon) Ending() context.Context { return d.ending }

// Shutdown has the daemon end and leave nothing, unless something is in use.
func (d *Daemon) Shutdown(o ShutdownOrder) error {
	if used, err := d.inUse(o.Native); err != nil {
		return err
	} else if len(used) > 0 && !o.Force {
		return fmt.Errorf("in use: %s; end what uses it, or force it with --force", strings.Join(used, ", "))
	}
	d.native.Store(o.Native)
	d.complete.Store(true)
	d.end()
	return nil
}

// unmountNative takes away what the kernel serves itself. d.mu is held.
func (d *Daemon) unmountNative() error {
	var err error
	for _, r := range d.recordsLocked() {
		for _, m := range r.Mounts {
			if m.Native {
				err = errors.Join(err, d.detach(m))
			}
		}
		err = errors.Join(err, d.retire(r))
	}
	return err
}

func (d *Daemon) postShutdown(w http.ResponseWriter, r *http.Request) {
	var order ShutdownOrder
	if !read(w, r, &order) {
		return
	}
	if err := d.Shutdown(order); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	d.sayEnding(w)
}

func (d *Daemon) postLeave(w http.ResponseWriter, _ *http.Request) {
	d.end()
	d.sayEnding(w)
}

func (d *Daemon) sayEnding(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(EndingDaemon{d.cfg.DataDir}) // a client that left does not wait
}

// endEvery is how often somebody who waits for a daemon's end looks.
const endEvery = 10 * time.Millisecond

// awaitEnd waits until no process uses a daemon's data directory.
func awaitEnd(ctx context.Context, dataDir string) error {
	ticker := time.NewTicker(endEvery)
	defer ticker.Stop()
	for {
		f, err := lock(dataDir)
		if err == nil {
			return f.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the running daemon to end: %w", err)
		case <-ticker.C:
		}
	}
}
