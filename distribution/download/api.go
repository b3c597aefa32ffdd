package download

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Config tunes the engine.
type Config struct {
	// Parallel is how many ranges of one blob are asked of an origin at a time.
	// More hides a registry's latency; fewer is politer. From 1 to 64.
	Parallel int `mapstructure:"-"`
	// Window is the most runs of blocks in flight from one node. More fills a
	// long fat link; fewer spreads the load over more nodes. From 1 to 64.
	Window int `mapstructure:"window"`
	// Inflight is the most runs in flight of one object from neighbours.
	Inflight int `mapstructure:"inflight"`
	// Run is the most blocks (256 KiB) asked of a neighbour in one request, 1 to
	// 16. Small runs spread an object's tail; large ones cost fewer requests.
	Run int `mapstructure:"run"`
	// ReadAhead is how many bytes before a waiting reader are fetched in order.
	ReadAhead int64 `mapstructure:"read_ahead"`
	// Stall is how long a fetch may go without a byte before its source is given
	// up for a while; longer where slow is usual.
	Stall time.Duration `mapstructure:"stall"`
	// LastResort is how long an object may make no progress in its swarm before
	// this node goes to the origin itself.
	LastResort time.Duration `mapstructure:"last_resort"`
	// Linger is how long a download goes on after its last reader left.
	Linger time.Duration `mapstructure:"linger"`
	// Batch is how long changes are gathered before neighbours are told.
	Batch time.Duration `mapstructure:"batch"`
}

// Default fits a LAN of 0.2 to 25 Gbit/s.
func Default() Config {
	return Config{
		Parallel: 4, Window: 8, Inflight: 32, Run: 4, ReadAhead: 8 << 20,
		Stall: 3 * time.Second, LastResort: 5 * time.Second,
		Linger: 30 * time.Second, Batch: 10 * time.Millisecond,
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	within := func(name string, v, lo, hi int64) error {
		if v >= lo && v <= hi {
			return nil
		}
		return fmt.Errorf("%s is %d: use %d to %d", name, v, lo, hi)
	}
	positive := func(name string, d time.Duration) error {
		if d > 0 {
			return nil
		}
		return fmt.Errorf("%s is %s: use a positive duration", name, d)
	}
	return errors.Join(
		within("parallel", int64(c.Parallel), 1, 64),
		within("window", int64(c.Window), 1, 64),
		within("inflight", int64(c.Inflight), 1, 1024),
		within("run", int64(c.Run), 1, chunk.BlocksPerChunk),
		within("read_ahead", c.ReadAhead, chunk.BlockSize, 1<<30),
		positive("stall", c.Stall), positive("last_resort", c.LastResort),
		positive("linger", c.Linger), positive("batch", c.Batch),
	)
}

// Deps are the engine's parts.
type Deps struct {
	Self  distribution.NodeID
	Key   ed25519.PrivateKey  // seals what this node verified whole itself
	Trust []ed25519.PublicKey // whose seals count beside its own
	Store chunk.Store
	// Origin is the registries.
	Origin distribution.Origin
	// Exchange fetches from nodes; nil for a node that works alone.
	Exchange distribution.Exchange
	// Neighbour opens a neighbour stream; nil for a node that works alone.
	Neighbour func(ctx context.Context, m distribution.Member) (distribution.Conn, error)
	// Supernode opens a control stream to the first supernode that answers, and
	// says who it is; nil without one. Hello is what the node says of itself.
	Supernode func(ctx context.Context) (distribution.Conn, distribution.Member, error)
	Hello     distribution.Hello
	// Own gives the node's own credentials for a registry as a header that the
	// supernode can fetch with; nil if it has none to give.
	Own func(ctx context.Context, registry string) string
	// Observer hears of what an authority learns; nil if nobody does.
	Observer Observer
	Log      *slog.Logger
	Metrics  *Metrics
}

// Observer is told what happens to the objects of a supernode's engine. Calls
// for one object come one at a time; they must not block nor call the engine.
type Observer interface {
	// Arrived: the supernode has these blocks; these are their digests.
	Arrived(object chunk.Digest, first int, sums []chunk.Digest)
	// Sealed: the whole matched.
	Sealed(l *chunk.List, s chunk.Seal)
	// Failed: the object cannot be had, or the whole did not match (wrong).
	Failed(object chunk.Digest, err error, wrong bool)
}

// ErrWhole says that all of an object's bytes do not hash to its name.
var ErrWhole = errors.New("the whole object does not match its digest")

// errStopped ends what runs when the engine ends.
var errStopped = errors.New("the daemon is shutting down")
