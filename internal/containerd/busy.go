package containerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errBusy says that somebody else writes the same blob now.
var errBusy = errors.New("somebody else writes it")

// busy tells the fault of a write that another one keeps from beginning:
// containerd answers so at once, with the code of a server that does not answer,
// and lets the next one in when the other's stream has ended.
func busy(fault, err error) error {
	if said := status.Convert(err); said.Code() == codes.Unavailable && strings.Contains(said.Message(), "locked for") {
		return errBusy
	}
	return fault
}

// busyPause is how long to wait before one more try.
const busyPause = 200 * time.Millisecond

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(busyPause):
		return nil
	}
}

// unique is a name that nobody else has.
func unique(what string) string { return fmt.Sprintf("%s-%s", what, rand.Text()) }
