//go:build linux

package layerstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// fake has one image of two layers, and remembers who holds what as a daemon does.
type fake struct {
	dir   string // layers' views
	blob  []byte
	image []*Layer

	mu    sync.Mutex
	held  map[string]chunk.Digest
	finds int
	stall chan struct{} // finding waits for it, if it is not nil
}

const reference = "registry.example/org/app:1"

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{dir: t.TempDir(), blob: bytes.Repeat([]byte("blob"), 100_000), held: map[string]chunk.Digest{}}
	toc := chunk.SumBytes([]byte("table of contents"))
	for i, blob := range [][]byte{f.blob, []byte("second")} {
		l := &Layer{
			Reference: reference, Digest: chunk.SumBytes(blob), Size: int64(len(blob)), DiffID: chunk.SumBytes([]byte{byte(i)}),
			MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Known: json.RawMessage(`{}`),
		}
		if i == 1 {
			l.TOC = &toc
		}
		view := filepath.Join(f.dir, l.Digest.Hex())
		if err := os.Mkdir(view, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(view, "file"), fmt.Appendf(nil, "layer %d", i), 0o644); err != nil {
			t.Fatal(err)
		}
		f.image = append(f.image, l)
	}
	return f
}

func (f *fake) Find(ctx context.Context, reference string, digest chunk.Digest) (*Layer, error) {
	f.mu.Lock()
	f.finds++
	stall := f.stall
	f.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for _, l := range f.image {
		if l.Reference == reference && (l.Digest == digest || l.TOC != nil && *l.TOC == digest) {
			return l, nil
		}
	}
	return nil, ErrUnknown
}

func (f *fake) Hold(_ context.Context, user string, layer *Layer) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[user] = layer.Digest
	return 12345, nil
}

func (f *fake) Lower(_ context.Context, user string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.held[user]
	if !ok {
		return "", errors.New("nothing is held")
	}
	return filepath.Join(f.dir, d.Hex()), nil
}

func (f *fake) Release(_ context.Context, user string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, user)
	return nil
}

func (f *fake) Users() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for user := range f.held {
		all = append(all, user)
	}
	slices.Sort(all)
	return all
}

func (f *fake) Blob(_ context.Context, layer *Layer) (Blob, error) {
	return closing{bytes.NewReader(f.blob[:layer.Size])}, nil
}

type closing struct{ io.ReaderAt }

func (closing) Close() error { return nil }

// world is a mounted store, looked at by programs of their own: a process must
// not read a file system that it serves itself.
type world struct {
	*fake
	*Store
	cfg Config
}

func newWorld(t *testing.T, edit func(*Config)) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("SKIP: there is no /dev/fuse")
	}
	cfg := Default()
	cfg.Dir, cfg.Mount = filepath.Join(t.TempDir(), "records"), filepath.Join(t.TempDir(), "layers")
	if edit != nil {
		edit(&cfg)
	}
	w := &world{fake: newFake(t), cfg: cfg}
	w.start(t)
	t.Cleanup(func() { w.end(t) })
	return w
}

func (w *world) start(t *testing.T) {
	t.Helper()
	var err error
	if w.Store, err = New(w.cfg, w.fake, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := w.Mount(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) end(t *testing.T) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// path is where a layer lies.
func (w *world) path(d chunk.Digest, below ...string) string {
	return filepath.Join(append([]string{w.cfg.Mount, pathOf(name{reference, d})}, below...)...)
}

// sh runs a script of a program of its own.
func sh(t *testing.T, script string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// found looks a layer up as containers/storage does before all else.
func (w *world) found(t *testing.T, d chunk.Digest) bool {
	t.Helper()
	_, err := sh(t, `stat "$1/diff/." "$1/info" "$1/blob"`, w.path(d))
	return err == nil
}

// use tells the store of a use, as containers/storage does.
func (w *world) use(t *testing.T, d chunk.Digest) {
	t.Helper()
	if out, err := sh(t, `: > "$1/use"`, w.path(d)); err == nil || !strings.Contains(strings.ToLower(out), "no such file") && !strings.Contains(out, "nonexistent") {
		t.Errorf("use: %v, %s", err, out)
	}
}

func (w *world) unuse(t *testing.T, d chunk.Digest) {
	t.Helper()
	if out, err := sh(t, `rmdir "$1"`, w.path(d)); err == nil || !strings.Contains(out, "No such file") {
		t.Errorf("unuse: %v, %s", err, out)
	}
}

func (w *world) uses(d chunk.Digest) int {
	w.Store.mu.Lock()
	defer w.Store.mu.Unlock()
	if f := w.Store.found[name{reference, d}]; f != nil {
		return f.record.Uses
	}
	return -1
}

func TestLayerIsFound(t *testing.T) {
	w := newWorld(t, nil)
	first := w.image[0]
	if !w.found(t, first.Digest) {
		t.Fatal("the first layer is not found")
	}
	if out, err := sh(t, `cat "$1/diff/file"`, w.path(first.Digest)); err != nil || out != "layer 0" {
		t.Errorf("its file reads %q, %v", out, err)
	}
	out, err := sh(t, `cat "$1/info"`, w.path(first.Digest))
	var i info
	if err := errors.Join(err, json.Unmarshal([]byte(out), &i)); err != nil {
		t.Fatal(err, out)
	}
	want := info{first.Digest.String(), first.Size, first.DiffID.String(), 12345, gzipped, ""}
	if i != want {
		t.Errorf("info is %+v, not %+v", i, want)
	}
	if out, err := sh(t, `sha256sum < "$1/blob"; stat -c %s "$1/blob"`, w.path(first.Digest)); err != nil || out != fmt.Sprintf("%s  -\n%d\n", first.Digest.Hex(), first.Size) {
		t.Errorf("the blob is %q, %v", out, err)
	}
	for _, script := range []string{`echo x > "$1/info"`, `echo x > "$1/blob"`, `mkdir "$1/d"`, `touch "$1/f"`, `rm "$1/info"`, `mv "$1/info" "$1/other"`, `rmdir "$1/.."`} {
		if out, err := sh(t, script, w.path(first.Digest)); err == nil {
			t.Errorf("%s went well: %s", script, out)
		}
	}
}

// Later versions of containers/storage look up a layer by its table of contents.
func TestLayerIsFoundByItsTableOfContents(t *testing.T) {
	w := newWorld(t, nil)
	toc := *w.image[1].TOC
	if !w.found(t, toc) {
		t.Fatal("it is not found")
	}
	out, err := sh(t, `cat "$1/info"`, w.path(toc))
	if err != nil || !strings.Contains(out, `"toc-digest":"`+toc.String()+`"`) {
		t.Errorf("info is %s, %v", out, err)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{
		w.path(chunk.SumBytes([]byte("else"))),
		w.cfg.Mount + "/not base64/" + w.image[0].Digest.String(),
		w.cfg.Mount + "/" + encode("other") + "/" + w.image[0].Digest.String(),
		w.cfg.Mount + "/" + encode("a\nb"),
		w.cfg.Mount + "/" + encode(reference) + "/sha256:xyz",
		w.path(w.image[0].Digest, "more"), w.path(w.image[0].Digest, "use"),
	} {
		if out, err := sh(t, `stat "$1"`, path); err == nil || !strings.Contains(out, "No such file") {
			t.Errorf("%s: %s", path, out)
		}
	}
}

func TestUsesAreCounted(t *testing.T) {
	w := newWorld(t, nil)
	d := w.image[0].Digest
	for i, step := range []struct {
		do   func(*testing.T, chunk.Digest)
		uses int
	}{{w.use, 1}, {w.use, 2}, {w.unuse, 1}, {w.use, 2}, {w.unuse, 1}, {w.unuse, 0}, {w.unuse, 0}} {
		step.do(t, d)
		if got := w.uses(d); got != step.uses {
			t.Errorf("step %d: %d uses, not %d", i, got, step.uses)
		}
	}
}

// A layer that is used survives a restart, one that was looked at does not, and
// nor does what nobody remembers.
func TestRestart(t *testing.T) {
	w := newWorld(t, nil)
	used, seen := w.image[0].Digest, w.image[1].Digest
	w.use(t, used)
	if !w.found(t, seen) {
		t.Fatal("a layer is not found")
	}
	w.end(t)
	w.held[userPrefix+"forgotten"] = used
	w.held["somebody else"] = used
	if err := os.WriteFile(filepath.Join(w.cfg.Dir, "new-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	want := []string{userOf(name{reference, used}), "somebody else"}
	if got := w.Users(); !slices.Equal(got, want) {
		t.Errorf("held are %q, not %q", got, want)
	}
	if w.uses(used) != 1 || w.uses(seen) != -1 {
		t.Errorf("%d and %d uses", w.uses(used), w.uses(seen))
	}
	finds := w.finds
	if out, err := sh(t, `cat "$1/diff/file"`, w.path(used)); err != nil || out != "layer 0" || w.finds != finds {
		t.Errorf("its file reads %q, %v, after %d searches", out, err, w.finds-finds)
	}
	if entries, err := os.ReadDir(w.cfg.Dir); err != nil || len(entries) != 1 {
		t.Errorf("%d records, %v", len(entries), err)
	}
}

// What is used is held again if that was forgotten, without a registry.
func TestForgottenHoldIsMadeAgain(t *testing.T) {
	w := newWorld(t, nil)
	d := w.image[0].Digest
	w.use(t, d)
	w.end(t)
	clear(w.held)
	w.start(t)
	finds := w.finds
	if !w.found(t, d) || w.uses(d) != 1 || w.finds != finds {
		t.Errorf("it has %d uses, after %d searches", w.uses(d), w.finds-finds)
	}
}

// A store that was killed leaves a mount that does not answer.
func TestStaleMountIsCleared(t *testing.T) {
	w := newWorld(t, nil)
	over := w.cfg
	over.Dir = t.TempDir()
	second, err := New(over, newFake(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Mount(); err != nil {
		t.Fatal(err)
	}
	if out, err := sh(t, `stat "$1"`, w.cfg.Mount); err != nil {
		t.Errorf("%s: %v", out, err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestUnusedLayersAreLetGo(t *testing.T) {
	w := newWorld(t, nil)
	used, seen := w.image[0].Digest, w.image[1].Digest
	w.use(t, used)
	w.found(t, seen)
	now := time.Now()
	if err := w.look(now.Add(w.cfg.Idle - time.Minute)); err != nil || len(w.Users()) != 2 {
		t.Errorf("held early on: %q, %v", w.Users(), err)
	}
	if err := w.look(now.Add(w.cfg.Idle + time.Minute)); err != nil || !slices.Equal(w.Users(), []string{userOf(name{reference, used})}) {
		t.Errorf("held later: %q, %v", w.Users(), err)
	}
	if !w.found(t, seen) { // and comes back
		t.Error("a layer that was let go is not found again")
	}
}

// A pull waits once for an image that takes long, not for each of its layers, and
// what it waited for is there later.
func TestPatience(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Patience = 50 * time.Millisecond })
	w.fake.mu.Lock()
	stall := make(chan struct{})
	w.stall = stall
	w.fake.mu.Unlock()
	d := w.image[0].Digest
	if w.found(t, d) {
		t.Error("a layer is found that is not there")
	}
	w.Store.mu.Lock()
	w.slow[reference] = time.Now().Add(time.Hour)
	if got := w.patience(reference); got != 0 {
		t.Errorf("the next layer is waited for %v", got)
	}
	delete(w.slow, reference)
	task := w.finding[name{reference, d}]
	w.Store.mu.Unlock()
	close(stall)
	if task != nil {
		<-task.done
	}
	if !w.found(t, d) {
		t.Error("the layer is not found when it is there")
	}
}

// Closing ends a search that hangs, and whoever waits for it.
func TestCloseEndsWaiting(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Patience = time.Hour })
	w.stall = make(chan struct{})
	waiting := exec.Command("stat", w.path(w.image[0].Digest))
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	for searching := false; !searching; time.Sleep(time.Millisecond) {
		w.Store.mu.Lock()
		searching = len(w.finding) > 0
		w.Store.mu.Unlock()
	}
	w.end(t)
	if err := waiting.Wait(); err == nil {
		t.Error("a layer is found that is not there")
	}
	w.stall = nil
	w.start(t)
}
