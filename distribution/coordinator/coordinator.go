package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Config tunes the judgement.
type Config struct {
	// Mode says who fetches from origins.
	Mode distribution.OriginMode `mapstructure:"-"`
	// Unit is how many blocks (256 KiB) one grant from the supernode has, 1 to
	// 16. Small units spread a relay's load finely; large ones cost fewer
	// requests.
	Unit int `mapstructure:"unit"`
	// Neighbours is how many others a node of a large swarm trades with.
	Neighbours int `mapstructure:"neighbours"`
	// Stall is how long nothing may be heard of a grant before somebody else gets
	// it; longer where slow is usual.
	Stall time.Duration `mapstructure:"stall"`
	// Round is how long digests and grants are gathered before they are sent.
	Round time.Duration `mapstructure:"round"`
	// OriginParallel is how many requests to origins may be granted at a time in
	// mode spread, over all members; each has at least one.
	OriginParallel int `mapstructure:"origin_parallel"`
}

// Default fits a LAN.
func Default() Config {
	return Config{
		Mode: distribution.ModeSupernode, Unit: 4, Neighbours: 16,
		Stall: 3 * time.Second, Round: 5 * time.Millisecond, OriginParallel: 8,
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	if c.Mode != distribution.ModeSupernode && c.Mode != distribution.ModeSpread {
		errs = append(errs, fmt.Errorf("mode is %q: use supernode or spread", c.Mode))
	}
	if c.Unit < 1 || c.Unit > chunk.BlocksPerChunk || chunk.BlocksPerChunk%c.Unit != 0 {
		errs = append(errs, fmt.Errorf("unit is %d: use 1, 2, 4, 8 or 16", c.Unit))
	}
	if c.Neighbours < 1 || c.Neighbours > distribution.MaxMembers {
		errs = append(errs, fmt.Errorf("neighbours is %d: use 1 to %d", c.Neighbours, distribution.MaxMembers))
	}
	if c.Stall <= 0 || c.Round <= 0 {
		errs = append(errs, errors.New("stall and round: use positive durations"))
	}
	if c.OriginParallel < 1 || c.OriginParallel > 1024 {
		errs = append(errs, fmt.Errorf("origin_parallel is %d: use 1 to 1024", c.OriginParallel))
	}
	return errors.Join(errs...)
}

// Engine is what the coordinator needs of the supernode's download engine.
type Engine interface {
	distribution.Objects
	// Lead is Open from the members of the swarm instead of the origin.
	Lead(ctx context.Context, src distribution.Source, size int64) (distribution.Reader, error)
	Neighbour(member distribution.Member, m distribution.Message)
	Learn(object chunk.Digest, first int, sums []chunk.Digest)
	SealOf(object chunk.Digest) (*chunk.List, chunk.Seal, bool)
	Present(object chunk.Digest) (*chunk.Bitmap, []chunk.Digest)
}

// Deps are the coordinator's parts.
type Deps struct {
	Origin distribution.Origin // sizes, in mode spread
	// Trusts verifies a seal that a holder recalls.
	Trusts func(l *chunk.List, s chunk.Seal) bool
	// Derive makes an image's tree and gives the signed statement which it is; nil
	// where remote images are not served.
	Derive distribution.Deriver
	// Chunks is the port of the supernode's exchange.
	Chunks uint16
	Agent  string
	Log    *slog.Logger
	// Metric counts what is decided; nil counts for nobody.
	Metric *Metrics
}

// Coordinator implements download.Observer.
type Coordinator struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	metric *Metrics
	engine Engine
	ctx    context.Context // ends with Run; what swarms run hangs on it
	cancel context.CancelFunc
	wg     sync.WaitGroup // what swarms run: opening, leading

	wake chan struct{}

	// seen is what the engine reported and no round has taken up yet. The engine
	// reports under its own locks, so this mutex is never held with mu.
	seenMu sync.Mutex
	seen   []func()

	mu      sync.Mutex
	members map[distribution.NodeID]*member
	swarms  map[chunk.Digest]*swarm
	holders map[chunk.Digest]map[distribution.NodeID]int64 // sizes of whole objects
	accused map[distribution.NodeID]map[distribution.NodeID]bool
	banned  map[distribution.NodeID]bool
	pace    pace
	rounds  uint64    // counts them
	looked  time.Time // when the last one was
}

// New makes a coordinator; Bind gives it its engine before Run and Serve.
func New(cfg Config, deps Deps) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	if deps.Metric == nil {
		deps.Metric = NewMetrics(nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Coordinator{
		ctx: ctx, cancel: cancel,
		cfg: cfg, deps: deps, log: deps.Log, metric: deps.Metric, wake: make(chan struct{}, 1),
		members: map[distribution.NodeID]*member{},
		swarms:  map[chunk.Digest]*swarm{},
		holders: map[chunk.Digest]map[distribution.NodeID]int64{},
		accused: map[distribution.NodeID]map[distribution.NodeID]bool{},
		banned:  map[distribution.NodeID]bool{},
		pace:    newPace(),
	}, nil
}

// Bind gives the coordinator its engine, which observes through it: neither can
// be made after the other.
func (c *Coordinator) Bind(e Engine) { c.engine = e }

// Run sends digests and grants in rounds until ctx ends.
func (c *Coordinator) Run(ctx context.Context) error {
	defer c.wg.Wait()
	defer c.halt()
	slow := time.NewTicker(250 * time.Millisecond)
	defer slow.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-slow.C:
		case <-c.wake:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(c.cfg.Round):
			}
		}
		c.round(time.Now())
	}
}

// spawn runs what takes time beside the rounds. Callers hold mu, so that nothing
// begins once Run waits for the end of it.
func (c *Coordinator) spawn(f func()) {
	if c.ctx.Err() == nil {
		c.wg.Go(f)
	}
}

func (c *Coordinator) halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
}

func (c *Coordinator) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// later queues what an engine's report changes; it runs in the next round.
func (c *Coordinator) later(f func()) {
	c.seenMu.Lock()
	c.seen = append(c.seen, f)
	c.seenMu.Unlock()
	c.poke()
}

func (c *Coordinator) round(now time.Time) {
	c.seenMu.Lock()
	seen := c.seen
	c.seen = nil
	c.seenMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	for _, f := range seen {
		f()
	}
	stood := c.awaken(now)
	for _, s := range c.swarms {
		if stood > 0 {
			s.forgive(stood, now)
		}
		c.reclaim(s, now)
		c.seekSeal(s, now)
		c.sendDigests(s)
		c.allot(s, now)
	}
	c.allotOrigins(now)
	c.metric.observe(c)
}

// Serve speaks with one peer over its control stream until it ends.
func (c *Coordinator) Serve(ctx context.Context, conn distribution.Conn) error {
	defer conn.Close()
	m, err := c.admit(ctx, conn)
	if err != nil {
		return err
	}
	pump := make(chan struct{})
	go func() { defer close(pump); m.pump(ctx) }()
	defer func() {
		c.remove(m)
		m.close()
		<-pump
	}()
	for {
		msg, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		if err := c.handle(m, msg); err != nil {
			return err
		}
	}
}

// admit takes the Hello and answers with Welcome.
func (c *Coordinator) admit(ctx context.Context, conn distribution.Conn) (*member, error) {
	first, err := conn.Receive(ctx)
	if err != nil {
		return nil, err
	}
	hello, ok := first.(*distribution.Hello)
	if !ok {
		return nil, fmt.Errorf("%w: %T before hello", distribution.ErrMessage, first)
	}
	if hello.Version != distribution.ProtocolVersion {
		return nil, fmt.Errorf("%w: version %d of %s, this supernode speaks %d", distribution.ErrMessage, hello.Version, hello.Agent, distribution.ProtocolVersion)
	}
	host := hello.Host
	if host == "" {
		if r, ok := conn.(interface{ RemoteHost() string }); ok {
			host = r.RemoteHost()
		}
	}
	m := newMember(conn, distribution.Member{ID: conn.Remote(), Chunks: hostPort(host, hello.Chunks), Control: hostPort(host, hello.Control)})
	welcome := &distribution.Welcome{Version: distribution.ProtocolVersion, Agent: c.deps.Agent, Mode: c.cfg.Mode, Chunks: c.deps.Chunks}
	if err := conn.Send(ctx, welcome); err != nil {
		return nil, err
	}
	c.mu.Lock()
	old := c.members[m.ID]
	c.members[m.ID] = m
	c.acquaint(m)
	c.mu.Unlock()
	if old != nil {
		_ = old.conn.Close()
	}
	c.log.Info("peer joined", "peer", string(m.ID), "chunks", m.Chunks, "agent", hello.Agent)
	return m, nil
}

func hostPort(host string, port uint16) string {
	if host == "" || port == 0 {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// remove forgets a peer whose stream ended: what it was granted goes to others.
func (c *Coordinator) remove(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[m.ID] == m {
		delete(c.members, m.ID)
		for id, h := range c.holders {
			if delete(h, m.ID); len(h) == 0 {
				delete(c.holders, id)
			}
		}
	}
	for _, s := range c.swarms {
		if p := s.parts[m.ID]; p != nil && p.m == m {
			c.part(s, p)
		}
	}
	c.log.Info("peer left", "peer", string(m.ID))
}

func (c *Coordinator) handle(m *member, msg distribution.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ctx.Err(); err != nil {
		return err
	}
	switch msg := msg.(type) {
	case *distribution.Announce:
		c.onAnnounce(m, msg)
	case *distribution.Want:
		c.onWant(m, msg)
	case *distribution.Need:
		c.onNeed(m, msg)
	case *distribution.Progress:
		for p := range msg.Each {
			c.onProgress(m, p)
		}
	case *distribution.Digests:
		c.onDigests(m, msg)
	case *distribution.Leave:
		c.onLeave(m, msg)
	case *distribution.Report:
		c.onReport(m, msg)
	case *distribution.Sealed:
		c.onRecalled(m, msg)
	case *distribution.Derive:
		c.onDerive(m, msg)
	default:
		return fmt.Errorf("%w: %T from a peer", distribution.ErrMessage, msg)
	}
	c.poke()
	return nil
}

func (c *Coordinator) onAnnounce(m *member, msg *distribution.Announce) {
	for _, h := range msg.Holdings {
		if len(h.Chunks) == 0 {
			c.hold(m.ID, h.Object, h.Size)
		}
	}
	for _, id := range msg.Gone {
		delete(c.holders[id], m.ID)
		if s := c.swarms[id]; s != nil && s.parts[m.ID] != nil && !s.parts[m.ID].wants {
			c.part(s, s.parts[m.ID])
		}
	}
}

// maxHeld bounds how many objects are remembered of all members together.
const maxHeld = 1 << 20

func (c *Coordinator) hold(id distribution.NodeID, object chunk.Digest, size int64) {
	if len(c.holders) >= maxHeld {
		return
	}
	if c.holders[object] == nil {
		c.holders[object] = map[distribution.NodeID]int64{}
	}
	c.holders[object][id] = size
}
