//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/lab/labtest"
)

func small(rate lab.Rate) lab.Config {
	config := lab.Default()
	config.Hosts, config.Rate, config.StoreBytes = []string{"a", "b", "c"}, rate, 64<<20
	return config
}

// output runs a program in a host and returns what it printed.
func output(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	p, err := h.Start(lab.Command{Args: args, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	return out.String()
}

func TestHostsReachEachOtherOverTCP(t *testing.T) {
	l := labtest.New(t, small(0))
	listener, err := l.Host("a").Listen(l.Host("a").At(7000))
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("shoal"), 100_000)
	serving := make(chan error, 1)
	go func() { serving <- serveOnce(listener, sent) }()

	before := counters(t, l.Host("b"))
	conn, err := l.Host("b").DialContext(t.Context(), "tcp", l.Host("a").At(7000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if host, _, _ := net.SplitHostPort(conn.LocalAddr().String()); host != "10.77.0.10" {
		t.Errorf("dialled from %s, want host b's own address", host)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes, %v; want the %d sent", len(got), err, len(sent))
	}
	if err := <-serving; err != nil {
		t.Error(err)
	}
	if moved := counters(t, l.Host("b")).Sub(before); moved.Received < int64(len(sent)) {
		t.Errorf("counted %d bytes received, want at least %d", moved.Received, len(sent))
	}
	if moved := counters(t, l.Host("c")); moved.Received > int64(len(sent))/10 {
		t.Errorf("host c received %d bytes of a conversation of two others", moved.Received)
	}
}

func serveOnce(listener net.Listener, payload []byte) error {
	defer listener.Close()
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	_, err = conn.Write(payload)
	return errors.Join(err, conn.Close())
}

func counters(t *testing.T, h *lab.Host) lab.Counters {
	t.Helper()
	c, err := h.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProcessesSeeOnlyTheirHost(t *testing.T) {
	l := labtest.New(t, small(0))
	links := output(t, l.Host("b"), "ip", "-o", "-4", "addr", "show")
	if !strings.Contains(links, "eth0    inet 10.77.0.10/24") || strings.Count(links, "\n") != 2 {
		t.Errorf("host b has these addresses, want lo and eth0 only:\n%s", links)
	}
	dir := strings.TrimSpace(output(t, l.Host("b"), "sh", "-c", "pwd; echo $HTTP_PROXY"))
	if dir != l.Host("b").Dir() {
		t.Errorf("process ran in %q, want the host's directory and no proxy", dir)
	}
	if kind := output(t, l.Host("b"), "stat", "-f", "-c", "%T", "."); kind != "tmpfs\n" {
		t.Errorf("the host's directory is on %s, want tmpfs", kind)
	}
}

func TestShapingIsInPlaceAtBothEnds(t *testing.T) {
	l := labtest.New(t, small(200*lab.Mbit))
	show := func() string { return output(t, l.Host("b"), "tc", "qdisc", "show", "dev", "eth0") }
	for end, got := range map[string]string{"host": show(), "switch": lab.SwitchOutput(t, l, "tc", "qdisc", "show", "dev", "swb")} {
		if !strings.Contains(got, "tbf") || !strings.Contains(got, "rate 200Mbit burst 262") || !strings.Contains(got, "lat 50ms") {
			t.Errorf("shaping of the %s's end: %s", end, got)
		}
	}
	if link := output(t, l.Host("b"), "ip", "-o", "link", "show", "eth0"); !strings.Contains(link, "mtu 1500") {
		t.Errorf("eth0: %s", link)
	}
	if err := l.Host("b").SetRate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := show(); strings.Contains(got, "tbf") {
		t.Errorf("shaping after it was lifted: %s", got)
	}
}

func TestProcessTimeCountsChildrenAndPeakIsSeen(t *testing.T) {
	l := labtest.New(t, small(0))
	p, err := l.Host("a").Start(lab.Command{Args: []string{"sh", "-c",
		"sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; sleep 60"}})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	var used time.Duration
	for used < 20*time.Millisecond && time.Now().Before(deadline) {
		if used, err = p.CPU(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if used < 20*time.Millisecond {
		t.Errorf("counted %s of a child's busy loop", used)
	}
	if peak := p.PeakMemory(); peak < 100<<10 {
		t.Errorf("peak memory of a shell: %d bytes", peak)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestCutHostIsUnreachableUntilItIsBack(t *testing.T) {
	l := labtest.New(t, small(0))
	listener, err := l.Host("a").Listen(l.Host("a").At(7000))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		conn, err := l.Host("b").DialContext(ctx, "tcp", l.Host("a").At(7000).String())
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := l.Host("a").Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := dial(300 * time.Millisecond); err == nil {
		t.Error("a host that was cut off answered")
	}
	if err := l.Host("a").Cut(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := dial(20 * time.Second); err != nil {
		t.Error("after it was put back:", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	root := rootLinks(t)
	l := labtest.New(t, small(200*lab.Mbit))
	name, dir := l.Name(), l.Dir()
	p, err := l.Host("a").Start(lab.Command{Args: []string{"sh", "-c", "sleep 300 & sleep 300"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(root, rootLinks(t)); diff != "" {
		t.Errorf("the lab changed the machine's own links:\n%s", diff)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lab's directory: %v, want it gone", err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), name) {
		t.Error("the lab's mount is still there")
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + name); len(groups) != 0 {
		t.Errorf("left control groups %v", groups)
	}
	if left := foreignNamespaces(t); len(left) != 0 {
		t.Errorf("threads are still in %v", left)
	}
	if err := l.Host("a").Do(func() error { return nil }); err == nil {
		t.Error("work in a closed lab succeeded")
	}
	if _, err := l.Host("a").Start(lab.Command{Args: []string{"true"}}); err == nil {
		t.Error("starting a process in a closed lab succeeded")
	}
	if diff := cmp.Diff(root, rootLinks(t)); diff != "" {
		t.Errorf("the machine's own links changed:\n%s", diff)
	}
}

func rootLinks(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ip", "-o", "link", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// foreignNamespaces lists threads of this process outside its own namespace.
func foreignNamespaces(t *testing.T) []string {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(threads, func(path string) bool {
		name, err := os.Readlink(path)
		return err != nil || name == own
	})
}
