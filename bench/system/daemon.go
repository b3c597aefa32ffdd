//go:build linux

package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/shoal-project/shoal/bench/lab"
)

// settings is a daemon's configuration file. It is written as JSON, which is
// YAML too.
type settings map[string]any

// Offsets from the first port of a cluster, as the daemons' defaults have them.
const (
	supernodeControl = 1 + iota
	supernodeChunks
	supernodeAdmin
)

const (
	peerRegistry = 10 + iota
	peerControl
	peerChunks
	peerAdmin
)

// logName is the file of a daemon's output in its directory.
const logName = "log"

// socketName is that of a daemon's Unix socket in its directory.
const socketName = "admin.sock"

// daemon is one of Shoal's, on one host.
type daemon struct {
	host   *lab.Host
	dir    string // of all its files
	binary string
	admin  string // its address on loopback
}

// common are the settings that every daemon has here: all files in one
// directory, and the lab's registry as an origin that may be private and speaks
// plain HTTP. more is added to the section on origins.
func (d daemon) common(registry string, more settings) settings {
	origin := settings{
		"allow_private": []string{registry},
		"registries":    []settings{{"name": registry, "plain_http": true}},
	}
	maps.Copy(origin, more)
	return settings{
		"data_dir": filepath.Join(d.dir, "data"),
		"admin":    settings{"listen": d.admin, "socket": filepath.Join(d.dir, socketName)},
		"origin":   origin,
	}
}

func (d daemon) configFile() string { return filepath.Join(d.dir, "config.yaml") }

func (d daemon) writeConfig(s settings) error {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(d.configFile(), text, 0o600)
}

// start runs the daemon and waits until it says that it is ready.
func (d daemon) start(ctx context.Context) (*lab.Process, error) {
	path := filepath.Join(d.dir, logName)
	output, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p, err := d.host.Start(lab.Command{Args: []string{d.binary, "serve", "--config", d.configFile()}, Stdout: output, Stderr: output})
	if err != nil {
		return nil, err
	}
	if err := waitReady(ctx, d.host, p, "http://"+d.admin+"/readyz"); err != nil {
		return nil, errors.Join(err, logTail(path), p.Kill())
	}
	return p, nil
}

// output runs one of the daemon's other commands to its end and returns what it
// printed.
func (d daemon) output(ctx context.Context, args ...string) (string, error) {
	var out, trouble bytes.Buffer
	p, err := d.host.Start(lab.Command{Args: append([]string{d.binary}, args...), Stdout: &out, Stderr: &trouble})
	if err != nil {
		return "", err
	}
	if err := p.Wait(ctx); err != nil {
		return "", fmt.Errorf("%w: %s", err, &trouble)
	}
	return out.String(), nil
}

func loopback(port uint16) string { return fmt.Sprintf("127.0.0.1:%d", port) }
