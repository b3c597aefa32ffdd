package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/shoal-project/shoal/chunk"
)

// Descriptor is a blob as manifests name it.
type Descriptor struct {
	MediaType string
	Digest    chunk.Digest
	Size      int64
}

func (d Descriptor) wire() *types.Descriptor {
	return &types.Descriptor{MediaType: d.MediaType, Digest: d.Digest.String(), Size: d.Size}
}

func descriptorOf(d *types.Descriptor) (Descriptor, error) {
	digest, err := chunk.ParseDigest(d.GetDigest())
	return Descriptor{MediaType: d.GetMediaType(), Digest: digest, Size: d.GetSize()}, err
}

// Blob tells a blob's labels, which are never nil; ErrNotFound if it is not in the
// namespace.
func (c *Client) Blob(ctx context.Context, d chunk.Digest) (labels map[string]string, err error) {
	answer, err := c.content.Info(ctx, &content.InfoRequest{Digest: d.String()})
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	if labels = answer.GetInfo().GetLabels(); labels == nil {
		labels = map[string]string{}
	}
	return labels, nil
}

// Keep is Blob that has the context's lease keep the blob, and gives nil if it is
// not there.
func (c *Client) Keep(ctx context.Context, d chunk.Digest) (labels map[string]string, err error) {
	if err := c.keep(ctx, "content", d.String()); err != nil { // before the look, so that it cannot go after it
		return nil, err
	}
	labels, err = c.Blob(ctx, d)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return labels, err
}

// Read reads a small blob whole, and verifies it.
func (c *Client) Read(ctx context.Context, d chunk.Digest, most int64) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream, wherever this leaves
	stream, err := c.content.Read(ctx, &content.ReadContentRequest{Digest: d.String()})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", d, err)
	}
	var all []byte
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", d, c.fault(ctx, err, stream.Trailer()))
		}
		if all = append(all, part.GetData()...); int64(len(all)) > most {
			return nil, fmt.Errorf("reading %s: it has more than %d bytes", d, most)
		}
	}
	if chunk.SumBytes(all) != d {
		return nil, fmt.Errorf("reading %s: containerd's copy has other bytes; remove it with `ctr content rm`", d)
	}
	return all, nil
}

// Label adds labels to a blob.
func (c *Client) Label(ctx context.Context, d chunk.Digest, labels map[string]string) error {
	if len(labels) == 0 {
		return nil
	}
	mask := &fieldmaskpb.FieldMask{}
	for key := range labels {
		mask.Paths = append(mask.Paths, "labels."+key)
	}
	_, err := c.content.Update(ctx, &content.UpdateRequest{
		Info: &content.Info{Digest: d.String(), Labels: labels}, UpdateMask: mask,
	})
	if err != nil {
		return fmt.Errorf("labelling %s: %w", d, err)
	}
	return nil
}

// Write writes a blob, whose bytes containerd verifies. One that is there already
// only gets the labels.
func (c *Client) Write(ctx context.Context, d Descriptor, from io.ReaderAt, labels map[string]string) error {
	err := c.write(ctx, d, from, labels)
	if errors.Is(err, ErrExists) {
		return c.Label(ctx, d.Digest, labels)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", d.Digest, err)
	}
	return nil
}

// step is how many bytes go in a message.
const step = 1 << 20

func (c *Client) write(ctx context.Context, d Descriptor, from io.ReaderAt, labels map[string]string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream, wherever this leaves
	w, err := c.begin(ctx, d)
	if err != nil {
		return err
	}
	part := make([]byte, min(step, d.Size))
	for w.at < d.Size {
		n := min(int64(len(part)), d.Size-w.at)
		if _, err := from.ReadAt(part[:n], w.at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := w.ask(content.WriteAction_WRITE, part[:n], nil); err != nil {
			return err
		}
	}
	return w.ask(content.WriteAction_COMMIT, nil, labels)
}

// writer is one write's stream; containerd lets no second one at the same blob.
type writer struct {
	client *Client
	ctx    context.Context
	stream content.Content_WriteClient
	blob   Descriptor
	at     int64
}

// begin learns how much of the blob is there from an earlier write.
func (c *Client) begin(ctx context.Context, d Descriptor) (*writer, error) {
	for {
		stream, err := c.content.Write(ctx)
		if err != nil {
			return nil, err
		}
		w := &writer{client: c, ctx: ctx, stream: stream, blob: d}
		err = w.ask(content.WriteAction_STAT, nil, nil)
		if err == nil && w.at > d.Size {
			err = fmt.Errorf("%d bytes of an earlier write are there, of %d; remove them with `ctr content rm`", w.at, d.Size)
		}
		if !errors.Is(err, errBusy) {
			return w, err
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// ask sends one message, whose bytes go to where the write is, and hears how far
// it is then.
func (w *writer) ask(action content.WriteAction, data []byte, labels map[string]string) error {
	err := w.stream.Send(&content.WriteContentRequest{
		Action: action, Ref: "layer-" + w.blob.Digest.String(), Total: w.blob.Size, Expected: w.blob.Digest.String(),
		Offset: w.at, Data: data, Labels: labels,
	})
	if err != nil && !errors.Is(err, io.EOF) { // then Recv has the reason
		return w.client.fault(w.ctx, err, nil)
	}
	answer, err := w.stream.Recv()
	if err != nil {
		return busy(w.client.fault(w.ctx, err, w.stream.Trailer()), err)
	}
	if want := w.at + int64(len(data)); action == content.WriteAction_WRITE && answer.GetOffset() != want {
		return fmt.Errorf("containerd has %d bytes where it was given %d", answer.GetOffset(), want)
	}
	w.at = answer.GetOffset()
	return nil
}
