package pull

import (
	"errors"
	"fmt"

	"github.com/shoal-project/shoal/chunk"
)

// advised is err, with what to do about it if the store has no room.
func advised(err error) error {
	if !errors.Is(err, chunk.ErrFull) {
		return err
	}
	return fmt.Errorf("%w: all that is in it is in use; raise store.quota, make room on its disk, or remove images that are mounted or held", err)
}
