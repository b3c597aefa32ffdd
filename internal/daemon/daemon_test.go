package daemon

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestBindable(t *testing.T) {
	for _, c := range []struct {
		address  string
		key      bool
		bind     string
		narrowed bool
	}{
		{":7411", true, ":7411", false},
		{"10.0.0.1:7411", true, "10.0.0.1:7411", false},
		{":7411", false, "127.0.0.1:7411", true},
		{"127.0.0.2:7411", false, "127.0.0.2:7411", false},
		{"[::1]:7411", false, "[::1]:7411", false},
		{"localhost:7411", false, "localhost:7411", false},
		{"10.0.0.1:7411", false, "", false},
		{"0.0.0.0:7411", false, "", false},
		{"[::]:7411", false, "", false},
		{"example.com:7411", false, "", false},
	} {
		bind, narrowed, err := Bindable(c.address, c.key)
		if bind != c.bind || narrowed != c.narrowed || (err == nil) != (c.bind != "") {
			t.Errorf("Bindable(%q, %t) = %q, %t, %v", c.address, c.key, bind, narrowed, err)
		}
		if err != nil && !strings.Contains(err.Error(), "supernode key new") {
			t.Errorf("Bindable(%q): no hint in %v", c.address, err)
		}
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "peer.sock")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", info.Mode(), err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another daemon listens") {
		t.Errorf("a second listener: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestListenUnixReplacesWhatAKilledProcessLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestListenUnixLeavesOtherFilesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("ListenUnix: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

func TestSignals(t *testing.T) {
	ctx, stop := Signals(t.Context())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("context: %v", ctx.Err())
	}
}

// A response that runs when the stop comes is finished; one that outlives the
// grace period is cut.
func TestServeLetsResponsesFinish(t *testing.T) {
	for name, c := range map[string]struct {
		grace time.Duration
		want  string
	}{
		"within grace": {time.Minute, "begin end"},
		"beyond grace": {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				stop()
				if c.grace == 0 {
					<-r.Context().Done()
					return
				}
				_, _ = io.WriteString(w, "begin ")
				_, _ = io.WriteString(w, "end")
			})
			served := make(chan error, 1)
			go func() { served <- Serve(ctx, l, h, c.grace, slog.New(slog.DiscardHandler)) }()
			got := ""
			if response, err := http.Get("http://" + l.Addr().String()); err == nil {
				text, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				got = string(text)
			}
			if got != c.want {
				t.Errorf("response %q, want %q", got, c.want)
			}
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}
