//go:build linux

package content

import (
	"context"
	"errors"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// An image that the store has no room for is not filled, and read all the same.
func TestFillLeavesWhatDoesNotFit(t *testing.T) {
	f := serve(t, Default(), random(1, 2*chunk.Size), random(2, 1000))
	f.peer.SetRoom(2*chunk.Size + 999)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 10)
	filled := make(chan error)
	go func() { filled <- f.image.Fill(ctx, func(err error) { told <- err }) }()
	var full *RoomError
	if err := <-told; !errors.As(err, &full) || full.Needed != 2*chunk.Size+1000 || full.Room != 2*chunk.Size+999 {
		t.Errorf("told %v", err)
	}
	if err := f.open(f.image, 1).Fetch(t.Context(), 0, 1000); err != nil {
		t.Error(err)
	}
	if p := f.image.Progress(); p.NoRoom == "" || p.Became[byFill] != 0 {
		t.Errorf("progress %+v", p)
	}
	cancel()
	if err := <-filled; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// Who came first is filled; objects that both have are needed once.
func TestFillIsForWhoCameFirst(t *testing.T) {
	f := serve(t, Default(), random(1, chunk.Size), random(2, 1000))
	f.peer.SetRoom(chunk.Size + 1000)
	first := f.image
	f.data = append(f.data, random(3, 10))
	second := f.newImage(f.table)
	if err := second.fits(t.Context()); err == nil {
		t.Error("there is room for both")
	}
	if err := first.Fill(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Error(err)
	}
	f.peer.SetRoom(chunk.Size + 1010)
	if err := second.Fill(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Error(err)
	}
	if p := second.Progress(); !p.Whole() || p.NoRoom != "" {
		t.Errorf("progress %+v", p)
	}
}
