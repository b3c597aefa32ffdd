//go:build linux

package holder

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/passfd"
)

const childEnv = "SHOAL_HOLDER_TEST_SOCKET"

// TestMain is the holder's process, if it was started as one.
func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := Main(path, func() {}); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func socket(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "h.sock")
}

// begin runs a holder in a process of its own.
func begin(t *testing.T, path string) *Holder {
	t.Helper()
	t.Setenv(childEnv, path)
	h, err := Start(path, "/proc/self/exe", "holder")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// pipe gives a file to hold: its end is seen at the other end.
func pipe(t *testing.T) (held, other *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, r
}

// ends waits until nobody has the writing end.
func ends(t *testing.T, r *os.File) {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it is held still: %v", err)
	}
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestHeldBetweenTwoDaemons(t *testing.T) {
	path := socket(t)
	h := begin(t, path)
	held, other := pipe(t)
	if err := h.Put(held, time.Hour); err != nil {
		t.Fatal(err)
	}
	held.Close()
	h.conn.Close() // as the end of a process does; the child is still to be reaped
	next, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	got, away, err := next.Get(time.Hour)
	if err != nil || away < 0 || away > time.Hour {
		t.Fatalf("%s, %v", away, err)
	}
	if flags, err := unix.FcntlInt(got.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("programs would inherit it: %x, %v", flags, err)
	}
	if _, err := got.WriteString("x"); err != nil {
		t.Error(err)
	}
	if n, err := other.Read(make([]byte, 1)); n != 1 {
		t.Errorf("it is another file: %v", err)
	}
	got.Close()
	if err := next.Drop(); err != nil {
		t.Error(err)
	}
	next.Wait()
	h.Reap()
	ends(t, other)
	gone(t, path)
}

func TestHolderHasPatienceOnlyWhileNobodyServes(t *testing.T) {
	path := socket(t)
	h := begin(t, path)
	held, other := pipe(t)
	if err := h.Put(held, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	held.Close()
	for range 3 {
		time.Sleep(5 * time.Millisecond) // longer than its patience, but somebody serves
		if err := h.Put(held, time.Millisecond); err == nil {
			t.Fatal("a closed file was given")
		}
	}
	if got, _, err := h.Get(time.Millisecond); err != nil {
		t.Fatal(err)
	} else {
		got.Close()
	}
	h.conn.Close()
	h.Reap()
	ends(t, other)
	gone(t, path)
}

func TestHolderThatIsKilledIsNoticed(t *testing.T) {
	path := socket(t)
	h := begin(t, path)
	if err := h.process.Kill(); err != nil {
		t.Fatal(err)
	}
	h.Wait()
	h.Reap()
	if _, err := Dial(path); err == nil {
		t.Error("there is a holder still")
	}
	again := begin(t, path) // although the socket of the killed one is left
	if err := again.Drop(); err != nil {
		t.Error(err)
	}
	again.Reap()
	gone(t, path)
}

func TestHolderRefuses(t *testing.T) {
	path := socket(t)
	h := begin(t, path)
	defer h.Reap()
	if _, _, err := h.Get(0); err == nil {
		t.Error("a holder of nothing gave something")
	}
	if _, _, err := h.ask(order{Do: "dance"}, nil); err == nil {
		t.Error("an order of another version was followed")
	}
	if _, _, err := h.ask(order{Do: doPut}, nil); err == nil {
		t.Error("nothing was held")
	}
	for _, text := range []string{"", "x", "{}"} { // an end, then what is no order
		c, err := net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	if err := h.Drop(); err != nil {
		t.Error(err)
	}
}

func TestSocketInAnOpenDirectoryIsRefused(t *testing.T) {
	path := socket(t)
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(path); err == nil {
		t.Error("a directory that others may look into was trusted")
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"do":"put","patience":1}`))
	f.Add([]byte(`{"do":`))
	f.Fuzz(func(t *testing.T, text []byte) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		file := os.NewFile(uintptr(pair[1]), "pair")
		c, err := net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if len(text) > passfd.MaxMessage || unix.Send(pair[0], text, 0) != nil {
			return
		}
		var o order
		if got, err := passfd.Receive(c.(*net.UnixConn), &o); got != nil || err == nil && len(text) == 0 {
			t.Errorf("%v, %v", got, err)
		}
	})
}
