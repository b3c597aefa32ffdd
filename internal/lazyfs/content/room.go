//go:build linux

package content

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-project/shoal/internal/progress"
)

// RoomError says that an image cannot be whole in the peer's store beside those
// that were there before it: filling it would only take the room that its readers
// need.
type RoomError struct {
	Needed int64 // by the image and those before it
	Room   int64
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("the images up to this one need %s, and the peer's store has room for %s; "+
		"what is read comes while there is room, the rest does not: raise store.quota of the peer, make room on its disk, or unmount others",
		progress.Bytes(e.Needed), progress.Bytes(e.Room))
}

// fits tells by a [RoomError] that the image does not fit. A peer that cannot say
// may have room.
func (m *Image) fits(ctx context.Context) error {
	room, err := m.table.peer.Room(ctx)
	if err != nil || room < 0 {
		return nil
	}
	if needed := m.table.needed(m); needed > room {
		return &RoomError{Needed: needed, Room: room}
	}
	return nil
}

// news tells whether an error is worth telling: one of room is so once. It notes
// whether the image fits.
func (m *Image) news(err error) bool {
	var full *RoomError
	if !errors.As(err, &full) {
		m.noRoom.Store(nil)
		return err != nil
	}
	return m.noRoom.Swap(full) == nil
}

// needed are the bytes of an image's objects and of those of the images before
// it: who came first is filled first.
func (t *Table) needed(m *Image) (total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.objects {
		for other := range o.images {
			if other.number <= m.number {
				total += o.size
				break
			}
		}
	}
	return total
}
