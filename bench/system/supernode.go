//go:build linux

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-project/shoal/bench/lab"
)

// SupernodeConfig describes a supernode.
type SupernodeConfig struct {
	Name      string // of its directory on its host
	Mode      string // origin mode: supernode or spread
	Security  string // chunk transport: tls or clear
	FirstPort uint16 // it listens on this and the next 20 ports
	Origin    string // host:port of the registry
	Binaries  Binaries
	Host      *lab.Host
}

// Supernode is a running supernode, and what its peers need to know of it.
type Supernode struct {
	*lab.Process
	config  SupernodeConfig
	daemon  daemon
	key     string // file of the network key; all hosts see one file system
	address string // in the form that peers are configured with
}

// StartSupernode starts a supernode with a network key of its own and waits
// until it is ready.
func StartSupernode(ctx context.Context, config SupernodeConfig) (*Supernode, error) {
	s := &Supernode{config: config, daemon: daemon{
		host: config.Host, dir: filepath.Join(config.Host.Dir(), config.Name),
		binary: config.Binaries.Supernode, admin: loopback(config.FirstPort + supernodeAdmin),
	}}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Supernode) begin(ctx context.Context) error {
	if err := s.makeKey(ctx); err != nil {
		return err
	}
	d, config := s.daemon, s.config
	control := config.Host.At(config.FirstPort + supernodeControl)
	conf := d.common(config.Origin, settings{"mode": config.Mode})
	conf["network_key"] = s.key
	conf["control"] = settings{"listen": control.String()}
	conf["exchange"] = settings{"listen": config.Host.At(config.FirstPort + supernodeChunks).String(), "security": config.Security}
	if err := d.writeConfig(conf); err != nil {
		return err
	}
	var err error
	if s.Process, err = d.start(ctx); err != nil {
		return err
	}
	said, err := d.output(ctx, "id", "--config", d.configFile())
	if err != nil {
		return fmt.Errorf("asking for the supernode's identity: %w", err)
	}
	id, _, _ := strings.Cut(strings.TrimSpace(said), "@")
	s.address = id + "@" + control.String()
	return nil
}

func (s *Supernode) makeKey(ctx context.Context) error {
	if err := os.MkdirAll(s.daemon.dir, 0o755); err != nil {
		return err
	}
	s.key = filepath.Join(s.daemon.dir, "network.key")
	if _, err := s.daemon.output(ctx, "key", "new", s.key); err != nil {
		return fmt.Errorf("making a network key: %w", err)
	}
	return nil
}

// Preheat has it fetch an image, and makes that ready to start lazily.
func (s *Supernode) Preheat(ctx context.Context, image string) error {
	_, err := s.daemon.output(ctx, "preheat", "--config", s.daemon.configFile(), "--wait", "--lazy", image)
	if err != nil {
		return fmt.Errorf("preheating %s: %w", image, err)
	}
	return nil
}

// Save copies its log and present metrics into dir.
func (s *Supernode) Save(ctx context.Context, dir string) error { return save(ctx, dir, s.daemon) }

// Stop ends the supernode and deletes its store.
func (s *Supernode) Stop() error {
	var err error
	if s.Process != nil {
		err = s.Process.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.daemon.dir))
}
