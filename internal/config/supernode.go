package config

import (
	"errors"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/coordinator"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/distribution/exchange"
	"github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/distribution/origin"
)

// DefaultSupernodeFile is read when no file is named.
const DefaultSupernodeFile = "/etc/shoal/supernode.yaml"

// Supernode is every setting of the supernode daemon.
type Supernode struct {
	DataDir    string             `mapstructure:"data_dir"`
	NetworkKey string             `mapstructure:"network_key"`
	Advertise  string             `mapstructure:"advertise"`
	Origin     SupernodeOrigin    `mapstructure:"origin"`
	Store      diskstore.Config   `mapstructure:"store"`
	Control    node.Config        `mapstructure:"control"`
	Exchange   Exchange           `mapstructure:"exchange"`
	Swarm      coordinator.Config `mapstructure:"swarm"`
	Download   download.Config    `mapstructure:"download"`
	Remote     Remote             `mapstructure:"remote"`
	Admin      Admin              `mapstructure:"admin"`
	Log        Log                `mapstructure:"log"`
	Memory     Memory             `mapstructure:"memory"`
	Shutdown   Shutdown           `mapstructure:"shutdown"`
}

// SupernodeOrigin is how registries are treated, and by whom.
type SupernodeOrigin struct {
	Mode          distribution.OriginMode `mapstructure:"mode"`
	origin.Config `mapstructure:",squash"`
}

// Validate reports every problem at once.
func (o SupernodeOrigin) Validate() error {
	mode := oneOf("mode", string(o.Mode), string(distribution.ModeSupernode), string(distribution.ModeSpread))
	return errors.Join(mode, o.Config.Validate())
}

// DefaultSupernode fetches from origins itself, and seeds.
func DefaultSupernode() Supernode {
	s := Supernode{
		DataDir:  "/var/lib/shoal/supernode",
		Origin:   SupernodeOrigin{Mode: distribution.ModeSupernode, Config: origin.Default()},
		Store:    diskstore.Default(),
		Control:  node.Default(),
		Exchange: Exchange{Listen: ":7402", Config: exchange.Default()},
		Swarm:    coordinator.Default(),
		Download: download.Default(),
		Remote:   defaultRemote(),
		Admin:    Admin{Listen: "127.0.0.1:7403", Socket: "/run/shoal/supernode.sock"},
		Log:      defaultLog(),
		Memory:   Memory{Limit: 192 << 20, GrowthPercent: 100},
		Shutdown: Shutdown{Grace: 10 * time.Second},
	}
	s.Control.Listen = ":7401"
	return s
}

// Validate reports every problem at once.
func (s *Supernode) Validate() error {
	var advertise error
	if s.Advertise != "" {
		if advertise = listenable("advertise", s.Advertise); advertise != nil {
			advertise = fmt.Errorf("%w; it is what peers dial, such as supernode.example.com:7401", advertise)
		}
	}
	return errors.Join(
		absolute("data_dir", s.DataDir),
		readable("network_key", s.NetworkKey),
		advertise,
		under("origin", s.Origin.Validate()),
		under("store", s.Store.Validate()),
		under("control", s.Control.Validate()),
		under("exchange", s.Exchange.Validate()),
		under("swarm", s.Swarm.Validate()),
		under("download", s.Download.Validate()),
		under("remote", s.Remote.Validate()),
		under("admin", s.Admin.Validate()),
		under("log", s.Log.Validate()),
		under("memory", s.Memory.Validate()),
		under("shutdown", s.Shutdown.Validate()),
	)
}
