package containerd

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/api/services/images/v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// Image tells what an image record stands for.
func (c *Client) Image(ctx context.Context, name string) (Descriptor, error) {
	answer, err := c.images.Get(ctx, &images.GetImageRequest{Name: name})
	if err != nil {
		return Descriptor{}, fmt.Errorf("the image %s: %w", name, err)
	}
	target, err := descriptorOf(answer.GetImage().GetTarget())
	if err != nil {
		return Descriptor{}, fmt.Errorf("the image %s: %w", name, err)
	}
	return target, nil
}

// SetImage makes an image record, or has it stand for something else.
func (c *Client) SetImage(ctx context.Context, name string, target Descriptor) error {
	image := &images.Image{Name: name, Target: target.wire()}
	_, err := c.images.Create(ctx, &images.CreateImageRequest{Image: image})
	if errors.Is(err, ErrExists) {
		_, err = c.images.Update(ctx, &images.UpdateImageRequest{Image: image, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"target"}}})
	}
	if err != nil {
		return fmt.Errorf("the image %s: %w", name, err)
	}
	return nil
}
