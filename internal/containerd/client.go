package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/services/introspection/v1"
	"github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ErrNotFound says that containerd has no such thing.
var ErrNotFound = errors.New("containerd does not have it")

// ErrExists says that containerd has it already.
var ErrExists = errors.New("containerd has it already")

// maxMessage bounds a message of containerd's, which has the same bound.
const maxMessage = 16 << 20

// The headers by which containerd's services know for whom they work.
const (
	namespaceHeader = "containerd-namespace"
	leaseHeader     = "containerd-lease"
)

// Client asks the containerd behind one Unix socket, in one namespace.
type Client struct {
	address, namespace string

	conn      *grpc.ClientConn
	content   content.ContentClient
	diff      diff.DiffClient
	images    images.ImagesClient
	plugins   introspection.IntrospectionClient
	leases    leases.LeasesClient
	snapshots snapshots.SnapshotsClient
}

// New is a client for the containerd at a socket. It connects when used.
func New(address, namespace string) (*Client, error) {
	c := &Client{address: address, namespace: namespace}
	var err error
	c.conn, err = grpc.NewClient("unix:"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithUnaryInterceptor(c.unary), grpc.WithStreamInterceptor(c.stream),
	)
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w; name its socket with --address", address, err)
	}
	c.content, c.diff = content.NewContentClient(c.conn), diff.NewDiffClient(c.conn)
	c.images, c.leases = images.NewImagesClient(c.conn), leases.NewLeasesClient(c.conn)
	c.plugins, c.snapshots = introspection.NewIntrospectionClient(c.conn), snapshots.NewSnapshotsClient(c.conn)
	return c, nil
}

// Close ends the connection, and with it what still runs.
func (c *Client) Close() error { return c.conn.Close() }

func (c *Client) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	var trailer metadata.MD
	err := call(c.named(ctx), method, request, reply, conn, append(opts, grpc.Trailer(&trailer))...)
	return c.fault(ctx, err, trailer)
}

func (c *Client) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, call grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := call(c.named(ctx), desc, conn, method, opts...)
	return s, c.fault(ctx, err, nil)
}

func (c *Client) named(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, namespaceHeader, c.namespace)
}

// fault gives an answer's error in words for people, and what can be asked of it.
// An error that containerd itself says comes with a trailer; one of the way to it
// does not.
func (c *Client) fault(ctx context.Context, err error, trailer metadata.MD) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	said := status.Convert(err)
	switch said.Code() {
	case codes.Unavailable:
		if len(trailer) > 0 { // it says so of a snapshotter that it asked
			return fmt.Errorf("containerd says: %s; start what it cannot reach, such as `lazyfs serve`", said.Message())
		}
		return fmt.Errorf("containerd does not answer at %s (%s); start it, or name its socket with --address", c.address, said.Message())
	case codes.NotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, said.Message())
	case codes.AlreadyExists:
		return fmt.Errorf("%w: %s", ErrExists, said.Message())
	case codes.Unknown:
		return fmt.Errorf("containerd says: %s", said.Message())
	}
	return fmt.Errorf("containerd says: %s (%s)", said.Message(), said.Code())
}

// leaseTime is how long a lease keeps what was made under it, if nobody releases
// it: longer than the slowest pull, as containerd's own commands have it.
const leaseTime = 24 * time.Hour

// Lease gives a context under which all that is made is kept, until release.
// Things that are there are kept too once they were written or named again.
func (c *Client) Lease(ctx context.Context) (leased context.Context, release func(context.Context) error, err error) {
	answer, err := c.leases.Create(ctx, &leases.CreateRequest{
		ID:     unique("shoal"),
		Labels: map[string]string{"containerd.io/gc.expire": time.Now().Add(leaseTime).UTC().Format(time.RFC3339)},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("making a lease: %w", err)
	}
	id := answer.GetLease().GetID()
	release = func(ctx context.Context) error {
		if _, err := c.leases.Delete(ctx, &leases.DeleteRequest{ID: id}); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("releasing the lease %s: %w", id, err)
		}
		return nil
	}
	return metadata.AppendToOutgoingContext(ctx, leaseHeader, id), release, nil
}

// keep has the context's lease, if there is one, keep a thing, which need not be
// there yet.
func (c *Client) keep(ctx context.Context, kind, id string) error {
	headers, _ := metadata.FromOutgoingContext(ctx)
	held := headers.Get(leaseHeader)
	if len(held) == 0 {
		return nil
	}
	_, err := c.leases.AddResource(ctx, &leases.AddResourceRequest{ID: held[0], Resource: &leases.Resource{ID: id, Type: kind}})
	if err != nil {
		return fmt.Errorf("keeping %s: %w", id, err)
	}
	return nil
}
