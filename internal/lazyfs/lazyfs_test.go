//go:build linux

package lazyfs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/lazyfs/lazytest"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/mounter"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/layer/erofs"
)

// testTree is a root with the files "small", in the tree, and one for each object.
type testTree struct{ objects [][]byte }

func (s testTree) Len() int          { return len(s.objects) + 2 }
func (s testTree) Parent(int) int    { return 0 }
func (s testTree) name(i int) string { return fmt.Sprintf("file%d", i) }
func (s testTree) Devices() (all []erofs.Device) {
	for _, o := range s.objects {
		all = append(all, erofs.Device{Object: chunk.SumBytes(o), Size: int64(len(o))})
	}
	return all
}

func (s testTree) Inode(i int, n *erofs.Inode, c *erofs.Content, x *[]erofs.Xattr) error {
	*n = erofs.Inode{Mode: erofs.ModeRegular | 0o644, Nlink: 1, Sec: 1}
	switch last := len(s.objects) + 1; i {
	case 0:
		*n = erofs.Inode{Mode: erofs.ModeDir | 0o751, UID: 5, GID: 6, Nlink: 2, Sec: 1000}
	case last:
		c.Inline = []byte("small")
		n.Size = 5
	default:
		c.Device = i - 1
		n.Size = int64(len(s.objects[i-1]))
	}
	return nil
}

func (s testTree) Children(_ int, yield func(string, int, uint32) bool) error {
	for i := range s.objects {
		if !yield(s.name(i), i+1, erofs.ModeRegular|0o644) {
			return nil
		}
	}
	yield("small", len(s.objects)+1, erofs.ModeRegular|0o644)
	return nil
}

// world is a peer with one image, and a daemon.
type world struct {
	*testing.T
	dir      string
	peer     *lazytest.Peer
	socket   string
	hangUp   func() // the peer goes away
	objects  [][]byte
	image    *nodeapi.Image
	daemon   *Daemon
	halt     func() // ends the daemon; native mounts stay
	stop     func() // is halt when there are none
	graduate bool
	fuseOnly bool // the kernel does not read the tree itself
}

// TestMain is the process that mounts, if it was started as one.
func TestMain(m *testing.M) {
	if os.Args[0] == "mounter" {
		if err := mounter.Main(func() {}); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bothViews runs a test with images whose trees the kernel reads itself, and with
// such that FUSE serves alone.
func bothViews(t *testing.T, test func(w *world), sizes ...int) {
	for name, fuseOnly := range map[string]bool{"tree": false, "fuse": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sizes...)
			w.fuseOnly = fuseOnly
			test(w)
		})
	}
}

// isLazy tells that a directory shows the image as it should.
func (w *world) isLazy(dir string) {
	w.Helper()
	want := nativeType
	if w.fuseOnly {
		want = fuseType
	}
	if mounted, err := mountpoint.At(dir); err != nil || len(mounted) != 1 || mounted[0].Type != want {
		w.Errorf("mounted %+v (%v), not %s", mounted, err, want)
	}
}

func newWorld(t *testing.T, sizes ...int) *world {
	t.Helper()
	if err := mountpoint.Privileged(); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	w := &world{T: t, dir: t.TempDir(), peer: lazytest.New(t)}
	for i, size := range sizes {
		object := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i)}).Read(object)
		w.objects = append(w.objects, object)
		w.peer.Add(object)
	}
	var tree bytes.Buffer
	if _, err := erofs.Write(&tree, testTree{w.objects}); err != nil {
		t.Fatal(err)
	}
	w.image = &nodeapi.Image{
		Registry: "r", Repository: "app", Manifest: chunk.SumBytes([]byte("m")), Platform: "linux/amd64",
		Tree: w.peer.Add(tree.Bytes()), TreeSize: int64(tree.Len()),
	}
	w.peer.SetImage(w.image)
	w.socket = filepath.Join(w.dir, "peer.sock")
	w.answer()
	t.Cleanup(func() { w.hangUp() })
	return w
}

// answer has the peer listen on its socket.
func (w *world) answer() {
	w.Helper()
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		w.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range w.peer.Server().Routes() {
		mux.Handle(r.Pattern, r.Handler)
	}
	server := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	w.hangUp = func() { server.Close(); <-done }
}

// start starts the daemon, and stops it at the test's end.
func (w *world) start(fill bool) {
	w.Helper()
	cfg := Config{
		DataDir: filepath.Join(w.dir, "data"), RunDir: filepath.Join(w.dir, "run"), Fill: fill, Graduate: w.graduate,
		Content: content.Default(), FUSE: fuse.Default(), Grace: 10 * time.Second,
		KernelTree: !w.fuseOnly, Mount: []string{"/proc/self/exe", "mounter"},
	}
	client := nodeapi.New(w.socket)
	var err error
	if w.daemon, err = New(cfg, client, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := w.daemon.Start(ctx); err != nil {
		cancel()
		w.Fatal(err)
	}
	stopped := false
	w.halt = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := w.daemon.Stop(); err != nil {
			w.Error(err)
		}
		client.Close()
	}
	w.stop = func() {
		if stopped {
			return
		}
		w.halt()
		left, err := mountpoint.Below(w.dir)
		if err != nil || len(left) > 0 {
			w.Errorf("left mounted: %v (%v)", left, err)
		}
	}
	w.Cleanup(func() { w.stop() })
}

func (w *world) mkdir(name string) string {
	w.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.Fatal(err)
	}
	return dir
}

func (w *world) mount(r MountRequest) error {
	r.Image = "r/app:1"
	_, err := w.daemon.Mount(w.Context(), r, func(nodeapi.Progress) {})
	return err
}

// read reads a range of a file in another process: one must not read its own
// file system.
func (w *world) read(path string, off, n int) ([]byte, error) {
	tail := exec.CommandContext(w.Context(), "tail", "-c", fmt.Sprintf("+%d", off+1), path)
	pipe, err := tail.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := tail.Start(); err != nil {
		return nil, err
	}
	got := make([]byte, n)
	_, err = io.ReadFull(pipe, got)
	tail.Process.Kill()
	tail.Wait()
	return got, err
}

func (w *world) same(dir string, object, off, n int) {
	w.Helper()
	got, err := w.read(filepath.Join(dir, testTree{}.name(object)), off, n)
	if err != nil || !bytes.Equal(got, w.objects[object][off:off+n]) {
		w.Fatalf("object %d at %d: %d bytes differ (%v)", object, off, n, err)
	}
}

func (w *world) status() ImageStatus {
	w.Helper()
	s := w.daemon.Status("v", w.socket, time.Now())
	if len(s.Images) != 1 {
		w.Fatalf("%d images", len(s.Images))
	}
	return s.Images[0]
}

// use has another process work in a directory. It must go there by itself: this
// process stands still until a child that it puts there has begun.
func (w *world) use(dir string) (leave func()) {
	w.Helper()
	user := exec.Command("sh", "-c", `cd "$1" && echo && exec sleep 1000`, "sh", dir)
	pipe, err := user.StdoutPipe()
	if err == nil {
		err = user.Start()
	}
	if err == nil {
		_, err = io.ReadFull(pipe, make([]byte, 1))
	}
	if err != nil {
		w.Fatal(err)
	}
	return func() {
		user.Process.Kill()
		user.Wait()
	}
}

func (w *world) eventually(what string, done func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("it does not happen: %s", what)
		}
	}
}

func TestLazyThenComplete(t *testing.T) { bothViews(t, testLazyThenComplete, 6<<20, 40<<10, 9<<20) }

func testLazyThenComplete(w *world) {
	t := w.T
	w.start(false)
	dir := w.mkdir("ro")
	if err := w.mount(MountRequest{Target: dir}); err != nil {
		t.Fatal(err)
	}
	w.isLazy(dir)
	if s := w.status(); s.State != StateLazy || s.Present != 0 || !s.Pinned || s.Objects != 3 {
		t.Errorf("status %+v", s)
	}
	if pins := w.peer.Pins(); len(pins[pinName(w.image.Tree)]) != 4 {
		t.Errorf("pins %v", pins)
	}
	if got, err := w.read(filepath.Join(dir, "small"), 0, 5); string(got) != "small" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	w.same(dir, 1, 0, 40<<10)
	if s := w.status(); s.State != StateLazy || s.Fetched != 40<<10 || s.Opens == 0 || s.Read < 40<<10 || s.Sources["origin"] == 0 {
		t.Errorf("status %+v", s)
	}
	native := w.mkdir("native")
	if err := w.mount(MountRequest{Target: native, Native: true}); err == nil || !strings.Contains(err.Error(), "not on this node yet") {
		t.Errorf("native while it is lazy: %v", err)
	}
	w.same(dir, 0, 0, 6<<20)
	w.same(dir, 2, 0, 9<<20)
	w.eventually("complete", func() bool { return w.status().State == StateComplete })
	if err := w.mount(MountRequest{Target: native, Native: true}); err != nil {
		t.Fatal(err)
	}
	w.same(native, 2, 0, 9<<20)
	if err := w.daemon.Unmount(native, false); err != nil {
		t.Fatal(err)
	}
}

// Reads wait while the peer is away, and go on when it is back; what is here is
// served meanwhile, also by a daemon that started without the peer.
func TestPeerAway(t *testing.T) { bothViews(t, testPeerAway, 5<<20, 1<<20) }

func testPeerAway(w *world) {
	t := w.T
	w.start(false)
	dir := w.mkdir("ro")
	if err := w.mount(MountRequest{Target: dir}); err != nil {
		t.Fatal(err)
	}
	w.same(dir, 0, 0, 4<<20)
	w.hangUp()
	w.stop()
	w.start(false)
	w.same(dir, 0, 0, 4<<20)
	read := make(chan error, 1)
	go func() {
		_, err := w.read(filepath.Join(dir, "file1"), 0, 1<<20)
		read <- err
	}()
	w.eventually("a wait with its reason", func() bool {
		s := w.status()
		return len(s.Waits) > 0 && strings.Contains(s.Waits[0].Reason, "does not answer") && !s.Pinned
	})
	second := w.mkdir("second")
	if err := w.mount(MountRequest{Target: second}); err != nil {
		t.Fatalf("mounting once more what is mounted: %v", err)
	}
	w.answer()
	if err := <-read; err != nil {
		t.Error(err)
	}
	w.eventually("pinned", func() bool { return w.status().Pinned })
}

func TestFillAndEvents(t *testing.T) {
	w := newWorld(t, 6<<20, 40<<10)
	release := w.peer.Hold()
	w.start(true)
	happened, leave := w.daemon.events.listen()
	defer leave()
	dir := w.mkdir("ro")
	if err := w.mount(MountRequest{Target: dir}); err != nil {
		t.Fatal(err)
	}
	release()
	for _, want := range []string{EventMounted, EventComplete} {
		if e := <-happened; e.Event != want || e.Image != "r/app:1" {
			t.Fatalf("event %+v, not %s", e, want)
		}
	}
	w.hangUp()
	w.same(dir, 0, 0, 6<<20)
	w.same(dir, 1, 0, 40<<10)
	if s := w.status(); s.State != StateComplete || s.Became["fill"] != 6<<20+40<<10 {
		t.Errorf("status %+v", s)
	}
	if err := w.daemon.Unmount(dir, false); err != nil {
		t.Fatal(err)
	}
	if e := <-happened; e.Event != EventUnmounted || e.Target != dir {
		t.Errorf("event %+v", e)
	}
	if len(w.peer.Pins()) != 1 {
		t.Error("unpinned by nobody")
	}
	w.answer()
	w.eventually("unpinned", func() bool { return len(w.peer.Pins()) == 0 })
	w.eventually("forgotten", func() bool {
		left, err := os.ReadDir(filepath.Join(w.dir, "data", "images"))
		return err == nil && len(left) == 0
	})
}

func TestWritable(t *testing.T) { bothViews(t, testWritable, 1<<20) }

func testWritable(w *world) {
	t := w.T
	w.start(true)
	dir, scratch := w.mkdir("rw"), w.mkdir("scratch")
	if err := w.mount(MountRequest{Target: dir, Writable: true, Scratch: scratch}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `cd "$1" && stat -c "%a %u %g %Y" . && echo changed > small && rm file0 && ls`, "sh", dir).Output()
	if err != nil || string(out) != "751 5 6 1000\nsmall\n" {
		t.Errorf("%q, %v", out, err)
	}
	leave := w.use(dir)
	if err := w.daemon.Unmount(dir, false); err == nil || !strings.Contains(err.Error(), "--detach") {
		t.Errorf("unmounted what is in use: %v", err)
	}
	leave()
	w.stop()
	w.start(true)
	if got, err := w.read(filepath.Join(dir, "small"), 0, 8); string(got) != "changed\n" || err != nil {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	if err := w.daemon.Unmount(dir, false); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left in scratch: %v, %v", left, err)
	}
}

// An image that is in use does not keep the daemon from ending.
func TestStopWhileInUse(t *testing.T) { bothViews(t, testStopWhileInUse, 1<<20) }

func testStopWhileInUse(w *world) {
	t := w.T
	w.start(true)
	dir := w.mkdir("ro")
	if err := w.mount(MountRequest{Target: dir}); err != nil {
		t.Fatal(err)
	}
	defer w.use(dir)()
	w.stop()
}

// A tree whose bytes are wrong is not served.
func TestWrongTree(t *testing.T) {
	w := newWorld(t, 1000)
	w.start(true)
	dir := w.mkdir("ro")
	if err := w.mount(MountRequest{Target: dir}); err != nil {
		t.Fatal(err)
	}
	if err := w.daemon.Unmount(dir, false); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(w.peer.Dir, w.image.Tree.Hex()[:2], w.image.Tree.Hex())
	if err := exec.Command("sh", "-c", `printf X | dd of="$1" bs=1 seek=100 conv=notrunc`, "sh", tree).Run(); err != nil {
		t.Fatal(err)
	}
	if err := w.mount(MountRequest{Target: dir}); err == nil || !strings.Contains(err.Error(), "the image's tree") {
		t.Errorf("served a wrong tree: %v", err)
	}
}

// An image whose tree is not on the disk at the start waits for the peer.
func TestRestoreWaitsForPeer(t *testing.T) {
	w := newWorld(t, 1<<20)
	w.start(false)
	dirs := []string{w.mkdir("a"), w.mkdir("b")}
	for _, dir := range dirs {
		if err := w.mount(MountRequest{Target: dir}); err != nil {
			t.Fatal(err)
		}
	}
	w.stop()
	w.hangUp()
	if err := writeJSON(filepath.Join(w.dir, "data", "peer.json"), peerFile{w.mkdir("another")}); err != nil {
		t.Fatal(err)
	}
	w.start(false)
	if s := w.status(); s.State != StateWaiting || len(s.Mounts) != 2 {
		t.Errorf("status %+v", s)
	}
	if err := w.daemon.Unmount(dirs[1], false); err != nil {
		t.Error(err)
	}
	w.answer()
	w.eventually("mounted again", func() bool { return w.status().State == StateLazy })
	w.same(dirs[0], 0, 0, 1<<20)
	if entries, err := os.ReadDir(dirs[1]); err != nil || len(entries) != 0 {
		t.Errorf("mounted again what was unmounted: %v, %v", entries, err)
	}
}
