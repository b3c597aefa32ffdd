package config

import (
	"errors"
	"fmt"
	"time"
)

// DefaultLazyfsFile is read when no file is named.
const DefaultLazyfsFile = "/etc/shoal/lazyfs.yaml"

// Lazyfs is every setting of the lazy file system's daemon.
type Lazyfs struct {
	DataDir     string      `mapstructure:"data_dir"`
	RunDir      string      `mapstructure:"run_dir"`
	Peer        PeerRef     `mapstructure:"peer"`
	FUSE        FUSE        `mapstructure:"fuse"`
	Fetch       Fetch       `mapstructure:"fetch"`
	Fill        Fill        `mapstructure:"fill"`
	Graduation  Graduation  `mapstructure:"graduation"`
	Snapshotter Snapshotter `mapstructure:"snapshotter"`
	LayerStore  LayerStore  `mapstructure:"layer_store"`
	Resume      Resume      `mapstructure:"resume"`
	Admin       Admin       `mapstructure:"admin"`
	Log         Log         `mapstructure:"log"`
	Memory      Memory      `mapstructure:"memory"`
	Shutdown    Shutdown    `mapstructure:"shutdown"`
}

// PeerRef says where the node's peer is.
type PeerRef struct {
	Socket string `mapstructure:"socket"`
}

// FUSE is how the kernel is served: fuse.Config, whose package is for Linux only.
type FUSE struct {
	Passthrough    bool          `mapstructure:"passthrough"`
	PassthroughMin Size          `mapstructure:"passthrough_min"`
	MaxRead        Size          `mapstructure:"max_read"`
	ReadAhead      Size          `mapstructure:"read_ahead"`
	AheadMax       Size          `mapstructure:"ahead_max"`
	Deadline       time.Duration `mapstructure:"deadline"`
	CacheFor       time.Duration `mapstructure:"cache_for"`
	IDMapped       bool          `mapstructure:"idmapped"`
	KernelTree     bool          `mapstructure:"kernel_tree"`
}

// Validate reports every problem at once.
func (f FUSE) Validate() error {
	return errors.Join(
		within("passthrough_min", f.PassthroughMin, 0, 1<<50),
		within("max_read", f.MaxRead, 4<<10, 1<<20),
		within("read_ahead", f.ReadAhead, 0, 64<<20),
		within("ahead_max", f.AheadMax, 0, 1<<30),
		within("deadline", f.Deadline, time.Second, 24*time.Hour),
		within("cache_for", f.CacheFor, 0, 365*24*time.Hour),
	)
}

// Fetch bounds what is asked of the peer at a time.
type Fetch struct {
	Demand int `mapstructure:"demand"`
	Ahead  int `mapstructure:"ahead"`
}

// Validate reports every problem at once.
func (f Fetch) Validate() error {
	return errors.Join(within("demand", f.Demand, 1, 4096), within("ahead", f.Ahead, 0, 1024))
}

// Fill is the background fill of mounted images.
type Fill struct {
	Enabled  bool `mapstructure:"enabled"`
	Rate     Size `mapstructure:"rate"`
	Parallel int  `mapstructure:"parallel"`
}

// Validate reports every problem at once.
func (f Fill) Validate() error {
	return errors.Join(within("rate", f.Rate, 0, 1<<40), within("parallel", f.Parallel, 1, 256))
}

// Graduation is having the kernel itself serve images that are complete.
type Graduation struct {
	Enabled bool `mapstructure:"enabled"`
}

// Resume is what becomes of mounts when the daemon ends.
type Resume struct {
	Enabled  bool          `mapstructure:"enabled"`
	Patience time.Duration `mapstructure:"patience"`
}

// Validate reports every problem at once.
func (r Resume) Validate() error { return within("patience", r.Patience, 0, 365*24*time.Hour) }

// Snapshotter is containerd's proxy snapshotter.
type Snapshotter struct {
	Enabled  bool          `mapstructure:"enabled"`
	Socket   string        `mapstructure:"socket"`
	Root     string        `mapstructure:"root"`
	Patience time.Duration `mapstructure:"patience"`
}

// Validate reports every problem at once.
func (s Snapshotter) Validate() error {
	errs := []error{within("patience", s.Patience, time.Second, time.Hour)}
	if s.Socket != "" {
		errs = append(errs, Absolute("socket", s.Socket))
	}
	if s.Root != "" {
		errs = append(errs, Absolute("root", s.Root))
	}
	return errors.Join(errs...)
}

// DefaultLazyfs serves the images of a node that runs a peer.
func DefaultLazyfs() Lazyfs {
	return Lazyfs{
		DataDir: "/var/lib/shoal/lazyfs",
		RunDir:  "/run/shoal/lazyfs",
		Peer:    PeerRef{Socket: "/run/shoal/peer.sock"},
		FUSE: FUSE{
			Passthrough: true, PassthroughMin: 1 << 20,
			MaxRead: 512 << 10, ReadAhead: 1 << 20, AheadMax: 32 << 20,
			Deadline: 5 * time.Minute, CacheFor: 24 * time.Hour, IDMapped: true, KernelTree: true,
		},
		Fetch:       Fetch{Demand: 64, Ahead: 8},
		Fill:        Fill{Enabled: true, Parallel: 4},
		Graduation:  Graduation{Enabled: true},
		Snapshotter: Snapshotter{Enabled: true, Patience: 30 * time.Second},
		LayerStore:  DefaultLayerStore(),
		Resume:      Resume{Enabled: true, Patience: 15 * time.Minute},
		Admin:       Admin{Listen: "127.0.0.1:7423", Socket: "/run/shoal/lazyfs.sock"},
		Log:         DefaultLog(),
		Memory:      DefaultMemory(),
		Shutdown:    Shutdown{Grace: 10 * time.Second},
	}
}

// Validate reports every problem at once.
func (l *Lazyfs) Validate() error {
	return errors.Join(
		Absolute("data_dir", l.DataDir),
		Absolute("run_dir", l.RunDir),
		Under("peer", Absolute("socket", l.Peer.Socket)),
		Under("fuse", l.FUSE.Validate()),
		Under("fetch", l.Fetch.Validate()),
		Under("fill", l.Fill.Validate()),
		Under("snapshotter", l.Snapshotter.Validate()),
		Under("layer_store", l.LayerStore.Validate()),
		Under("admin", l.Admin.Validate()),
		Under("log", l.Log.Validate()),
		Under("memory", l.Memory.Validate()),
		Under("shutdown", l.Shutdown.Validate()),
	)
}

func within[N int | Size | time.Duration](key string, value, low, high N) error {
	if value >= low && value <= high {
		return nil
	}
	return fmt.Errorf("%s: %v is out of range; use %v to %v", key, value, low, high)
}
