//go:build linux

package lab

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// SwitchOutput runs a program in the lab's switch, which has no exported host.
func SwitchOutput(t *testing.T, l *Lab, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	err := l.sw.do(func() error {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = &out, &out
		return cmd.Run()
	})
	if err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	return out.String()
}

func TestForeignNamespacesAreRefused(t *testing.T) {
	if err := Available(); err != nil {
		t.Skipf("SKIP: no network lab here: %v", err)
	}
	own, err := newThread()
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	root, err := namespaceOf("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	touch := func() error { ran = true; return nil }

	t.Run("another's", func(t *testing.T) {
		strayed := &thread{inode: own.inode + 1, jobs: own.jobs, done: own.done}
		if err := strayed.do(touch); err == nil || !strings.Contains(err.Error(), "refused") || ran {
			t.Errorf("got %v, ran %v; want a refusal", err, ran)
		}
	})
	t.Run("the machine's own", func(t *testing.T) {
		strayed, err := newThread()
		if err != nil {
			t.Fatal(err)
		}
		defer strayed.close()
		if err := strayed.do(func() error { return join("/proc/self/ns/net") }); err != nil {
			t.Fatal(err)
		}
		strayed.inode = root
		if err := strayed.do(touch); err == nil || ran {
			t.Errorf("got %v, ran %v; want a refusal", err, ran)
		}
	})
	t.Run("a thread that was moved", func(t *testing.T) {
		other, err := newThread()
		if err != nil {
			t.Fatal(err)
		}
		defer other.close()
		if err := own.do(func() error { return join(other.path()) }); err != nil {
			t.Fatal(err)
		}
		if err := own.do(touch); err == nil || ran {
			t.Errorf("got %v, ran %v; want a refusal", err, ran)
		}
	})
}

func join(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Setns(fd, unix.CLONE_NEWNET), unix.Close(fd))
}

func TestConfigReportsEveryProblem(t *testing.T) {
	config := Config{Hosts: []string{"a", "a", "Bad"}, Rate: Mbit}
	err := config.Validate()
	if err == nil {
		t.Fatal("a bad configuration passed")
	}
	for _, want := range []string{"given twice", `"Bad"`, "burst and latency", "store bytes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in: %v", want, err)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error("the default:", err)
	}
}

func TestRateReadsWhatItWrites(t *testing.T) {
	for text, want := range map[string]Rate{"none": 0, "200mbit": 200 * Mbit, "1gbit": Gbit, "64kbit": 64 * Kbit} {
		got, err := ParseRate(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseRate(%q) = %d (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "200", "0mbit", "-1mbit", "1.5gbit", "99999999999gbit"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("ParseRate(%q) = %d, want an error", text, got)
		}
	}
}
