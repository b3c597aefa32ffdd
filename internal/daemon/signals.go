package daemon

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Signals gives a context that ends at the first SIGINT or SIGTERM. From then on
// signals act as if nobody caught them, so the next one kills.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// LimitMemory sets the runtime's soft heap limit in bytes (0: none) and how many
// percent the heap may grow between collections. The runtime's own variables,
// GOMEMLIMIT and GOGC, win: who sets them knows what for.
func LimitMemory(limit int64, growthPercent int) {
	if os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growthPercent)
	}
}
