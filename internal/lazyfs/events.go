//go:build linux

package lazyfs

import (
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// The kinds of events.
const (
	EventMounted   = "mounted"
	EventUnmounted = "unmounted"
	EventComplete  = "complete" // all of the image is on this node
)

// Event is something that happened to an image.
type Event struct {
	Time  time.Time    `json:"time"`
	Event string       `json:"event"`
	Image string       `json:"image"` // its reference
	Tree  chunk.Digest `json:"tree"`
	// Target is the directory, of mounts and unmounts.
	Target string `json:"target,omitempty"`
}

// maxUnread is how many events wait for a listener; one that reads slower loses
// the later ones.
const maxUnread = 256

// events passes events on to whoever listens.
type events struct {
	mu        sync.Mutex
	listeners map[chan Event]bool
}

func (e *events) listen() (<-chan Event, func()) {
	c := make(chan Event, maxUnread)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listeners == nil {
		e.listeners = map[chan Event]bool{}
	}
	e.listeners[c] = true
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.listeners, c)
	}
}

func (e *events) tell(kind string, i *nodeapi.Image, reference, target string) {
	if reference == "" {
		reference = i.Reference
	}
	event := Event{Time: time.Now(), Event: kind, Image: reference, Tree: i.Tree, Target: target}
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.listeners {
		select {
		case c <- event:
		default:
		}
	}
}
