package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/distribution/exchange"
	"github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/distribution/origin"
	"github.com/shoal-project/shoal/registryproxy"
)

// DefaultPeerFile is read when no file is named.
const DefaultPeerFile = "/etc/shoal/peer.yaml"

// Peer is every setting of the peer daemon.
type Peer struct {
	DataDir    string           `mapstructure:"data_dir"`
	NetworkKey string           `mapstructure:"network_key"`
	Supernode  SupernodeRef     `mapstructure:"supernode"`
	Registry   Registry         `mapstructure:"registry"`
	Origin     origin.Config    `mapstructure:"origin"`
	Store      diskstore.Config `mapstructure:"store"`
	Control    node.Config      `mapstructure:"control"`
	Exchange   Exchange         `mapstructure:"exchange"`
	Download   download.Config  `mapstructure:"download"`
	Remote     Remote           `mapstructure:"remote"`
	Admin      Admin            `mapstructure:"admin"`
	Log        Log              `mapstructure:"log"`
	Memory     Memory           `mapstructure:"memory"`
	Shutdown   Shutdown         `mapstructure:"shutdown"`
}

// SupernodeRef says which supernodes a peer belongs to.
type SupernodeRef struct {
	Address []string `mapstructure:"address"`
}

// Validate reports every problem at once.
func (s SupernodeRef) Validate() error {
	var errs []error
	for _, address := range s.Address {
		if _, err := node.ParseAddress(address); err != nil {
			errs = append(errs, fmt.Errorf("address: %w; `supernode id` prints it", err))
		}
	}
	return errors.Join(errs...)
}

// Registry is what container engines talk to.
type Registry struct {
	Listen               string `mapstructure:"listen"`
	registryproxy.Config `mapstructure:",squash"`
}

// Validate reports every problem at once.
func (r Registry) Validate() error {
	return errors.Join(listenable("listen", r.Listen), r.Config.Validate())
}

// Exchange is where other nodes ask for chunks.
type Exchange struct {
	Listen          string `mapstructure:"listen"`
	exchange.Config `mapstructure:",squash"`
}

// Validate reports every problem at once.
func (e Exchange) Validate() error {
	return errors.Join(listenable("listen", e.Listen), e.Config.Validate())
}

// DefaultPeer works alone, on loopback.
func DefaultPeer() Peer {
	p := Peer{
		DataDir:  "/var/lib/shoal/peer",
		Registry: Registry{Listen: "127.0.0.1:7410", Config: registryproxy.Default()},
		Origin:   origin.Default(),
		Store:    diskstore.Default(),
		Control:  node.Default(),
		Exchange: Exchange{Listen: ":7412", Config: exchange.Default()},
		Download: download.Default(),
		Remote:   defaultRemote(),
		Admin:    Admin{Listen: "127.0.0.1:7413", Socket: "/run/shoal/peer.sock"},
		Log:      defaultLog(),
		Memory:   defaultMemory(),
		Shutdown: Shutdown{Grace: 10 * time.Second},
	}
	p.Control.Listen = ":7411"
	return p
}

// Validate reports every problem at once.
func (p *Peer) Validate() error {
	return errors.Join(
		absolute("data_dir", p.DataDir),
		readable("network_key", p.NetworkKey),
		under("supernode", p.Supernode.Validate()),
		under("registry", p.Registry.Validate()),
		under("origin", p.Origin.Validate()),
		under("store", p.Store.Validate()),
		under("control", p.Control.Validate()),
		under("exchange", p.Exchange.Validate()),
		under("download", p.Download.Validate()),
		under("remote", p.Remote.Validate()),
		under("admin", p.Admin.Validate()),
		under("log", p.Log.Validate()),
		under("memory", p.Memory.Validate()),
		under("shutdown", p.Shutdown.Validate()),
	)
}

// IdentityFile is where a daemon keeps its identity key.
func IdentityFile(dataDir string) string { return filepath.Join(dataDir, "identity.key") }
