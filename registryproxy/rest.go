package registryproxy

import (
	"context"
	"errors"
	"time"
)

// maxResting bounds how many failing registries are remembered.
const maxResting = 256

// restTime is how long a registry that failed is left alone by those who have
// something stale to serve.
const restTime = 10 * time.Second

// errResting says that a registry failed a moment ago.
var errResting = errors.New("the origin failed a moment ago")

// asked bounds an asking in time; what is asked goes on for others.
func asked[V any](ctx context.Context, d time.Duration, ask func(context.Context) V) V {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return ask(ctx)
}

// patience is how long to wait for an origin: shorter when there is something
// stale to spare.
func (a *access) patience(spare bool) time.Duration {
	if spare {
		return min(a.staleWait, 2*a.up.header)
	}
	return 2 * a.up.header // a request may be made twice
}

// rest notes a failure, unless it was the caller who gave up.
func (a *access) rest(ctx context.Context, registry string) {
	if ctx.Err() == nil {
		a.resting.put(registry, a.now())
	}
}

func (a *access) isResting(registry string) bool {
	at, ok := a.resting.get(registry)
	return ok && within(a.now(), at, restTime)
}
