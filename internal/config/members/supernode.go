package members

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
	"github.com/shoal-project/shoal/internal/config"
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
	Admin      config.Admin       `mapstructure:"admin"`
	Log        config.Log         `mapstructure:"log"`
	Memory     config.Memory      `mapstructure:"memory"`
	Shutdown   config.Shutdown    `mapstructure:"shutdown"`
}

// SupernodeOrigin is how registries are treated, and by whom.
type SupernodeOrigin struct {
	Mode          distribution.OriginMode `mapstructure:"mode"`
	origin.Config `mapstructure:",squash"`
}

// Validate reports every problem at once.
func (o SupernodeOrigin) Validate() error {
	mode := config.OneOf("mode", string(o.Mode), string(distribution.ModeSupernode), string(distribution.ModeSpread))
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
		Admin:    config.Admin{Listen: "127.0.0.1:7403", Socket: "/run/shoal/supernode.sock"},
		Log:      config.DefaultLog(),
		Memory:   config.Memory{Limit: 192 << 20, GrowthPercent: 100},
		Shutdown: config.Shutdown{Grace: 10 * time.Second},
	}
	s.Control.Listen = ":7401"
	return s
}

// Validate reports every problem at once.
func (s *Supernode) Validate() error {
	var advertise error
	if s.Advertise != "" {
		if advertise = config.Listenable("advertise", s.Advertise); advertise != nil {
			advertise = fmt.Errorf("%w; it is what peers dial, such as supernode.example.com:7401", advertise)
		}
	}
	return errors.Join(
		config.Absolute("data_dir", s.DataDir),
		config.Readable("network_key", s.NetworkKey),
		advertise,
		config.Under("origin", s.Origin.Validate()),
		config.Under("store", s.Store.Validate()),
		config.Under("control", s.Control.Validate()),
		config.Under("exchange", s.Exchange.Validate()),
		config.Under("swarm", s.Swarm.Validate()),
		config.Under("download", s.Download.Validate()),
		config.Under("remote", s.Remote.Validate()),
		config.Under("admin", s.Admin.Validate()),
		config.Under("log", s.Log.Validate()),
		config.Under("memory", s.Memory.Validate()),
		config.Under("shutdown", s.Shutdown.Validate()),
	)
}
