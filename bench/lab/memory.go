package lab

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// WarmMemory touches so many bytes of memory and gives them back, so that what
// the next run writes to a tmpfs or the page cache lands on memory that the
// machine has at hand. On a virtual machine whose host takes free memory away,
// the first touch of a page costs a fault in the host: writing 1 GiB was seen to
// take 3 CPU seconds instead of 0.4, more than all of a run's other work, and
// differently from run to run. It says nothing about what is measured.
func WarmMemory(ctx context.Context, bytes int64) error {
	const piece = 256 << 20
	var pieces [][]byte
	defer func() {
		for _, p := range pieces {
			_ = unix.Munmap(p)
		}
	}()
	for ; bytes > 0 && ctx.Err() == nil; bytes -= piece {
		p, err := unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
		if err != nil {
			return fmt.Errorf("touching memory: %w", err)
		}
		pieces = append(pieces, p)
	}
	return ctx.Err()
}
