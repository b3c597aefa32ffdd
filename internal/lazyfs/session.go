//go:build linux

package lazyfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/holder"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
)

// Resume says whether and how mounts outlive the daemon.
type Resume struct {
	Enabled bool
	// Patience is how long reads wait for the next daemon; 0 is for ever.
	Patience time.Duration
	// Hold is the program that runs [holder.Main], and its arguments, the first of which
	// is the process's name; the socket's path follows them.
	Hold []string
}

// session is what the next daemon needs to go on with the mounts of this one. Its
// directory is in the run directory, because it means nothing after a reboot.
type session struct {
	dir string
	Resume

	mu     sync.Mutex
	known  sessionFile
	pause  time.Duration
	holder *holder.Holder // nil: the mounts end with the daemon
	why    string         // the reason for that
	ended  bool
}

// sessionFile is session.json. It is written when the holder has the descriptor.
type sessionFile struct {
	Version int          `json:"version"`
	FUSE    fuse.Session `json:"fuse"`
	Mounted time.Time    `json:"mounted"`
	Resumes int          `json:"resumes"`
}

const sessionVersion = 1

// SessionStatus tells of the mount of the file system.
type SessionStatus struct {
	Mounted time.Time `json:"mounted"` // by this daemon or an earlier one
	// Resumes is how many daemons took it over since, and Pause how long nobody
	// served before this one did.
	Resumes int           `json:"resumes"`
	Pause   time.Duration `json:"last_pause_ns"`
	// Resumable tells whether the next one can; Why not, otherwise.
	Resumable bool   `json:"resumable"`
	Why       string `json:"why,omitempty"`
}

func (s *session) status() SessionStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SessionStatus{
		Mounted: s.known.Mounted, Resumes: s.known.Resumes, Pause: s.pause,
		Resumable: s.holder != nil, Why: s.why,
	}
}

func (s *session) register(reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "shoal_lazyfs_session_resumes", Help: "Daemons that took the mounted file system over since it was mounted.",
		}, func() float64 { return float64(s.status().Resumes) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "shoal_lazyfs_session_pause_seconds", Help: "How long nobody served before this daemon took over.",
		}, func() float64 { return s.status().Pause.Seconds() }),
	)
}

func (s *session) file() string   { return filepath.Join(s.dir, "session.json") }
func (s *session) opens() string  { return filepath.Join(s.dir, "opens") }
func (s *session) socket() string { return filepath.Join(s.dir, "holder.sock") }

// errNoSession says that no daemon left anything, which is as usual.
var errNoSession = errors.New("there is nothing to take over")

// take gives what an earlier daemon left, if its mount is where it was.
func (s *session) take(mountDir string) (*os.File, error) {
	err := readJSON(s.file(), &s.known)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoSession
	}
	if err == nil && s.known.Version != sessionVersion {
		err = fmt.Errorf("it was written by another version of the program (%d, not %d)", s.known.Version, sessionVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("the record of the mount: %w", err)
	}
	if s.known.FUSE.Dir != mountDir || !s.shows(mountDir) {
		return nil, errors.New("the file system is not mounted any more")
	}
	h, err := holder.Dial(s.socket())
	if err != nil {
		return nil, err
	}
	device, away, err := h.Get(s.Patience)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	s.holder, s.pause = h, away
	return device, nil
}

// shows tells whether the file system of the session is mounted last at a directory.
func (s *session) shows(dir string) bool {
	m, _, err := mountpoint.Topmost(dir)
	return err == nil && s.is(m)
}

func (s *session) is(m mountpoint.Mount) bool {
	return m.Type == fuseType && m.Device == s.known.FUSE.Device
}

// resumed notes that this daemon has taken over.
func (s *session) resumed(began time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.Resumes++
	s.pause += time.Since(began)
	return writeJSON(s.file(), s.known)
}

// forget takes away what an earlier daemon left. What its file system showed ends.
func (s *session) forget() error {
	s.known, s.pause = sessionFile{}, 0
	h := s.holder
	if s.holder = nil; h == nil {
		h, _ = holder.Dial(s.socket()) // there may be none
	}
	if h != nil {
		_ = errors.Join(h.Drop(), h.Close()) // it may end by itself just now, and does at last when nobody comes
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("removing what an earlier daemon left: %w", err)
	}
	return os.Mkdir(s.dir, 0o700)
}

// keep gives a mount that was made anew to a holder, and records it.
func (s *session) keep(fs *fuse.FS) error {
	of, _ := fs.Session()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = sessionFile{Version: sessionVersion, FUSE: of, Mounted: time.Now()}
	switch {
	case !s.Enabled:
		s.why = "resume.enabled is off"
		return nil
	case !of.Resumable():
		s.why = "the kernel cannot repeat requests that a daemon left unanswered; that needs Linux 6.9"
		return errors.New(s.why)
	}
	h, err := s.hold(fs)
	if err == nil {
		if err = writeJSON(s.file(), s.known); err != nil {
			err = errors.Join(err, h.Drop(), h.Close())
		}
	}
	if err != nil {
		s.why = err.Error()
		return err
	}
	s.holder = h
	return nil
}

// hold starts a holder.
func (s *session) hold(fs *fuse.FS) (*holder.Holder, error) {
	device, err := fs.Device()
	if err != nil {
		return nil, err
	}
	defer device.Close()
	h, err := holder.Start(s.socket(), s.Hold[0], slices.Concat(s.Hold[1:], []string{s.socket()})...)
	if err != nil {
		return nil, err
	}
	if err := h.Put(device, s.Patience); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// watch starts another holder when one ends, until the session does.
func (d *Daemon) watch() {
	s := d.session
	for {
		s.mu.Lock()
		h := s.holder
		s.mu.Unlock()
		if h == nil {
			return
		}
		h.Wait()
		s.mu.Lock()
		if s.ended {
			s.mu.Unlock()
			return
		}
		h.Reap()
		next, err := s.hold(d.fs)
		if s.holder = next; err != nil {
			s.why = err.Error()
		}
		s.mu.Unlock()
		if err != nil {
			d.log.Error("the process that holds the file system has ended, and another cannot be started: mounts end with this daemon now", "error", err)
			return
		}
		d.log.Warn("the process that holds the file system has ended; there is another now")
	}
}

// lasts tells whether the mounts go on when this process ends; then nothing starts
// another holder any more. The end of the process is what the holder waits for.
func (s *session) lasts() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.holder != nil
}

// end leaves nothing for another daemon. watch reads the holder's connection, so
// this takes another.
func (s *session) end() error {
	s.mu.Lock()
	h := s.holder
	s.holder, s.ended = nil, true
	s.mu.Unlock()
	var err error
	if h != nil {
		if other, reached := holder.Dial(s.socket()); reached == nil {
			err = errors.Join(other.Drop(), other.Close())
			h.Reap()
		}
		err = errors.Join(err, h.Close())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// resume takes over what an earlier daemon left, with all that reads it; false if
// there is nothing, or if it cannot be done, which is logged. Images are announced:
// requests for them wait until restore has come to them.
func (d *Daemon) resume(recorded []*Record) bool {
	began := time.Now()
	if !d.session.Enabled {
		return false
	}
	device, err := d.session.take(d.mountDir())
	if errors.Is(err, errNoSession) {
		return false
	}
	if err == nil {
		for _, r := range recorded {
			if r.wanted() {
				d.fs.Expect(r.ID, r.Image.Tree.Hex())
			}
		}
		err = d.fs.Resume(d.session.known.FUSE, device, d.session.opens())
	}
	if err != nil {
		for _, r := range recorded {
			d.fs.Unexpect(r.ID)
		}
		d.log.Warn("the mounts of the last daemon cannot be taken over: they are mounted anew, and what was open in them fails", "error", err)
		return false
	}
	if err := d.session.resumed(began); err != nil {
		d.log.Warn("recording that the mounts were taken over", "error", err)
	}
	d.log.Info("the mounts of the last daemon go on", "mounted", d.session.known.Mounted, "pause", d.session.pause)
	return true
}
