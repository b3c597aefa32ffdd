package members

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
	"github.com/shoal-project/shoal/internal/config"
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
	Admin      config.Admin     `mapstructure:"admin"`
	Log        config.Log       `mapstructure:"log"`
	Memory     config.Memory    `mapstructure:"memory"`
	Shutdown   config.Shutdown  `mapstructure:"shutdown"`
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
	return errors.Join(config.Listenable("listen", r.Listen), r.Config.Validate())
}

// Exchange is where other nodes ask for chunks.
type Exchange struct {
	Listen          string `mapstructure:"listen"`
	exchange.Config `mapstructure:",squash"`
}

// Validate reports every problem at once.
func (e Exchange) Validate() error {
	return errors.Join(config.Listenable("listen", e.Listen), e.Config.Validate())
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
		Admin:    config.Admin{Listen: "127.0.0.1:7413", Socket: "/run/shoal/peer.sock"},
		Log:      config.DefaultLog(),
		Memory:   config.DefaultMemory(),
		Shutdown: config.Shutdown{Grace: 10 * time.Second},
	}
	p.Control.Listen = ":7411"
	return p
}

// Validate reports every problem at once.
func (p *Peer) Validate() error {
	return errors.Join(
		config.Absolute("data_dir", p.DataDir),
		config.Readable("network_key", p.NetworkKey),
		config.Under("supernode", p.Supernode.Validate()),
		config.Under("registry", p.Registry.Validate()),
		config.Under("origin", p.Origin.Validate()),
		config.Under("store", p.Store.Validate()),
		config.Under("control", p.Control.Validate()),
		config.Under("exchange", p.Exchange.Validate()),
		config.Under("download", p.Download.Validate()),
		config.Under("remote", p.Remote.Validate()),
		config.Under("admin", p.Admin.Validate()),
		config.Under("log", p.Log.Validate()),
		config.Under("memory", p.Memory.Validate()),
		config.Under("shutdown", p.Shutdown.Validate()),
	)
}

// IdentityFile is where a daemon keeps its identity key.
func IdentityFile(dataDir string) string { return filepath.Join(dataDir, "identity.key") }
