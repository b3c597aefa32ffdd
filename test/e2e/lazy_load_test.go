//go:build e2e && linux

package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/testimage"
)

// loadEnv names the kind of work that a child of this program does.
const loadEnv = "E2E_SHOAL_LOAD"

// What the load reads: a huge file of which some is always missing, one that is
// soon complete, and small ones.
const (
	wholeSize, wholeSeed  = 6 << 20, 301
	smallFiles, smallSeed = 120, 310
	smallSize             = 20_000
	readSize              = 16 << 10
	longOp                = 4 * time.Millisecond
	dropEvery             = 150 * time.Millisecond
	coldEvery             = 20 * time.Millisecond
)

// hugeSize is enough for the cold readers of all kills.
func hugeSize() int64 { return 192 << 20 * int64(max(1, *kills/12)) }

// hugeFile is a file of which each word tells its offset.
type hugeFile struct{ off, size int64 }

func (h *hugeFile) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), h.size-h.off)) &^ 7
	if h.off == h.size {
		return 0, io.EOF
	}
	fillHuge(p[:n], h.off)
	h.off += int64(n)
	return n, nil
}

func (h *hugeFile) Close() error { return nil }

// fillHuge makes the bytes from off on; both are multiples of eight.
func fillHuge(p []byte, off int64) {
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], uint64(off+int64(i))*0x9e3779b97f4a7c15+1)
	}
}

// loadImage is what the load reads.
func loadImage(t testing.TB) []testimage.Entry {
	t.Helper()
	entries := []testimage.Entry{
		{
			Header: tar.Header{Typeflag: tar.TypeReg, Name: "huge", Mode: 0o644, Size: hugeSize()},
			Open:   func() (io.ReadCloser, error) { return &hugeFile{size: hugeSize()}, nil },
		},
		testimage.File("whole", 0o644, noise(wholeSeed, wholeSize)), testimage.Dir("d", 0o755),
	}
	for i := range smallFiles {
		if i%20 == 0 {
			entries = append(entries, testimage.Dir(fmt.Sprintf("d/%d", i/20), 0o755))
		}
		entries = append(entries, testimage.File(smallName(i), 0o644, noise(smallSeed+uint64(i), smallSize)))
	}
	return entries
}

func smallName(i int) string { return fmt.Sprintf("d/%d/small%03d", i/20, i) }

// slow is an operation of the load that took long.
type slow struct {
	Began time.Time
	Took  time.Duration
}

// loadReport is what a child says at its end.
type loadReport struct {
	Operations int
	Slow       []slow
}

// worker does one operation after another.
type worker struct {
	root   string
	random *rand.Rand
	huge   int64 // its size
	whole  []byte
	small  [][]byte
}

// runLoadIfChild is the child's main function. It fails at the first wrong byte or
// error, and ends when its input does.
func runLoadIfChild() {
	kind := os.Getenv(loadEnv)
	if kind == "" {
		return
	}
	seed, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err == nil {
		err = runLoad(kind, os.Args[1], seed)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", kind, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runLoad(kind, root string, seed uint64) error {
	w := &worker{root: root, random: rand.New(rand.NewPCG(seed, 1))}
	operation := map[string]func() error{
		"cold": w.cold, "open": w.open, "walk": w.walk, "map": w.mapped, "exec": w.exec, "drop": w.drop,
	}[kind]
	info, err := os.Stat(filepath.Join(root, "huge"))
	if err == nil {
		w.huge = info.Size()
	}
	w.whole = noise(wholeSeed, wholeSize)
	for i := range smallFiles {
		w.small = append(w.small, noise(smallSeed+uint64(i), smallSize))
	}
	told := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(told)
	}()
	fmt.Println("ready")
	var report loadReport
	for {
		select {
		case <-told:
			return json.NewEncoder(os.Stdout).Encode(report)
		default:
		}
		began := time.Now()
		if err := operation(); err != nil {
			return fmt.Errorf("after %d operations: %w", report.Operations, err)
		}
		if took := time.Since(began); took > longOp {
			report.Slow = append(report.Slow, slow{began, took})
		}
		report.Operations++
		if kind == "cold" {
			time.Sleep(coldEvery)
		}
	}
}

// cold reads something of the huge file, which has to come first, mostly.
func (w *worker) cold() error {
	off := w.random.Int64N(w.huge-readSize) &^ 4095
	want := make([]byte, readSize)
	fillHuge(want, off)
	return w.read("huge", want, off)
}

// open opens, reads a little and closes: passthrough files, and others.
func (w *worker) open() error {
	if w.random.IntN(2) == 0 {
		off := w.random.Int64N(wholeSize - readSize)
		return w.read("whole", w.whole[off:off+readSize], off)
	}
	i := w.random.IntN(smallFiles)
	return w.read(smallName(i), w.small[i], 0)
}

// read opens a file, compares some of it, and closes it.
func (w *worker) read(name string, want []byte, off int64) error {
	f, err := os.Open(filepath.Join(w.root, name))
	if err != nil {
		return err
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, off); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s has wrong bytes at %d", name, off)
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// walk lists everything with its attributes.
func (w *worker) walk() error {
	files := 0
	err := filepath.WalkDir(w.root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && strings.Contains(path, "small") {
			files++
			if info.Size() != smallSize {
				err = fmt.Errorf("%s has %d bytes", path, info.Size())
			}
		}
		return err
	})
	if err == nil && files != smallFiles {
		err = fmt.Errorf("%d small files, not %d", files, smallFiles)
	}
	return err
}

// mapped reads through a memory map.
func (w *worker) mapped() error {
	f, err := os.Open(filepath.Join(w.root, "whole"))
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, wholeSize, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for range 4 {
		off := w.random.Int64N(wholeSize - readSize)
		if !bytes.Equal(b[off:off+readSize], w.whole[off:off+readSize]) {
			return fmt.Errorf("the map has wrong bytes at %d", off)
		}
	}
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil {
		return err
	}
	return unix.Munmap(b)
}

// exec runs a program of an image; the root is that of another image.
func (w *worker) exec() error {
	out, err := exec.Command("chroot", w.root, "/bin/busybox", "echo", "runs").CombinedOutput()
	if err != nil || string(out) != "runs\n" {
		return fmt.Errorf("%w: %q", err, out)
	}
	return nil
}

// drop has the kernel ask for names and bytes anew.
func (w *worker) drop() error {
	time.Sleep(dropEvery)
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte(strconv.Itoa(1+w.random.IntN(3))), 0)
}

// load is the children at work.
type load struct {
	children []*child
}

type child struct {
	kind   string
	cmd    *exec.Cmd
	in     io.Closer
	out    bytes.Buffer
	errors bytes.Buffer
	begun  sync.WaitGroup
	read   chan error
}

// startLoad begins work of every kind on a mount of loadImage and one of a
// bootable image.
func startLoad(t *testing.T, root, bootable string) *load {
	t.Helper()
	l := &load{}
	for i, kind := range []string{"cold", "cold", "open", "open", "walk", "map", "exec", "drop"} {
		dir := root
		if kind == "exec" {
			dir = bootable
		}
		l.children = append(l.children, startChild(t, kind, dir, i))
	}
	for _, c := range l.children {
		c.begun.Wait()
	}
	return l
}

func startChild(t *testing.T, kind, dir string, seed int) *child {
	t.Helper()
	c := &child{kind: kind, cmd: exec.Command("/proc/self/exe", dir, strconv.Itoa(seed)), read: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), loadEnv+"="+kind)
	c.cmd.Stderr = &c.errors
	c.in = must(c.cmd.StdinPipe())(t)
	out := must(c.cmd.StdoutPipe())(t)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.begun.Add(1)
	go func() {
		_, err := io.ReadFull(out, make([]byte, len("ready\n")))
		c.begun.Done()
		if err == nil {
			_, err = io.Copy(&c.out, out)
		}
		c.read <- err
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// end ends all work; whoever saw an error or a wrong byte fails the test.
func (l *load) end(t *testing.T) (slowest []slow) {
	t.Helper()
	for _, c := range l.children {
		_ = c.in.Close()
	}
	for _, c := range l.children {
		select {
		case err := <-c.read:
			if waited := c.cmd.Wait(); err != nil || waited != nil {
				t.Errorf("%s: %v, %v: %s", c.kind, err, waited, &c.errors)
				continue
			}
		case <-time.After(2 * patience):
			t.Errorf("%s does not end: a request was lost", c.kind)
			continue
		}
		var report loadReport
		if err := json.Unmarshal(c.out.Bytes(), &report); err != nil {
			t.Errorf("%s said %q", c.kind, &c.out)
		}
		t.Logf("%s: %d operations", c.kind, report.Operations)
		if report.Operations == 0 {
			t.Errorf("%s did nothing", c.kind)
		}
		if c.kind == "cold" || c.kind == "open" {
			slowest = append(slowest, report.Slow...)
		}
	}
	return slowest
}

// tellPauses says how long readers waited at each of the moments: the longest
// operation that was under way then.
func tellPauses(t *testing.T, what string, all []slow, moments []time.Time) {
	t.Helper()
	pauses := make([]time.Duration, 0, len(moments))
	for _, at := range moments {
		longest := time.Duration(0)
		for _, s := range all {
			if end := s.Began.Add(s.Took); s.Began.Before(at.Add(100*time.Millisecond)) && end.After(at) {
				longest = max(longest, s.Took)
			}
		}
		pauses = append(pauses, longest)
	}
	slices.Sort(pauses)
	t.Logf("%s: pauses of readers: median %s, longest %s, of %d", what, pauses[len(pauses)/2].Round(time.Millisecond),
		pauses[len(pauses)-1].Round(time.Millisecond), len(pauses))
}
