//go:build linux

package cri

import (
	"os"
	"strings"
	"testing"
)

func TestParseLogReadsWholeLines(t *testing.T) {
	text := "2026-11-22T08:00:00.000000001Z stdout F one two\n2026-11-22T08:00:01Z stderr F \n2026-11-22T08:00:02Z stdout P cut"
	lines, err := parseLog([]byte(text))
	if err != nil || len(lines) != 2 {
		t.Fatalf("%d lines: %v, %v", len(lines), lines, err)
	}
	if l := lines[0]; l.Text != "one two" || l.Stream != "stdout" || l.Time.Nanosecond() != 1 {
		t.Errorf("the first is %+v", l)
	}
	if l := lines[1]; l.Text != "" || l.Stream != "stderr" {
		t.Errorf("the second is %+v", l)
	}
	for _, wrong := range []string{"no fields\n", "yesterday stdout F text\n"} {
		if _, err := parseLog([]byte(wrong)); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add([]byte("2026-11-22T08:00:00.1Z stdout F text\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, err := parseLog(text)
		if err == nil && len(lines) > strings.Count(string(text), "\n") {
			t.Errorf("%d lines of %q", len(lines), text)
		}
	})
}

func TestContainerdConfigNamesItsSnapshotters(t *testing.T) {
	c := Containerd{Dir: t.TempDir(), Pause: "r/pause:v1", Snapshotter: "shoal", Proxies: map[string]string{"shoal": "/run/s.sock"}}
	if err := c.Write(); err != nil {
		t.Fatal(err)
	}
	if err := c.Mirror("registry:5000", "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`snapshotter = "shoal"`, "disable_snapshot_annotations = false", "[proxy_plugins.shoal]", `address = "/run/s.sock"`, c.Socket()} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the configuration lacks %s", want)
		}
	}
	if _, err := os.Stat(c.Hosts() + "/registry:5000/hosts.toml"); err != nil {
		t.Error(err)
	}
}
