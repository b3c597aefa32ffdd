package pull

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

func TestAFullStoreIsAdvisedOn(t *testing.T) {
	full := advised(fmt.Errorf("reading it: %w", chunk.ErrFull))
	if !errors.Is(full, chunk.ErrFull) || !strings.Contains(full.Error(), "store.quota") {
		t.Error(full)
	}
	if other := errors.New("other"); advised(other) != other || advised(nil) != nil {
		t.Error("another error was changed")
	}
}
