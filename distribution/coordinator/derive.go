package coordinator

import (
	"errors"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

const (
	// maxDeriving bounds the images that one member waits for at a time.
	maxDeriving = 64
	// derivingEvery is how often a member hears how far its image is.
	derivingEvery = 200 * time.Millisecond
)

// onDerive has an image's tree made, beside the rounds. Callers hold mu.
func (c *Coordinator) onDerive(m *member, msg *distribution.Derive) {
	refuse := func(why string) { m.tell(&distribution.Derived{ID: msg.ID, Message: why}) }
	switch {
	case c.deps.Derive == nil:
		refuse("this supernode serves no remote images")
		return
	case msg.Authorization == distribution.NodeCredentials:
		refuse("a peer cannot use this node's credentials")
		return
	case m.deriving >= maxDeriving:
		refuse("too many images of this node are being derived; try again later")
		return
	}
	m.deriving++
	c.spawn(func() {
		answer := c.derive(m, msg)
		c.mu.Lock()
		defer c.mu.Unlock()
		m.deriving--
		m.tell(answer)
	})
}

func (c *Coordinator) derive(m *member, msg *distribution.Derive) *distribution.Derived {
	src := distribution.Source{Registry: msg.Registry, Repository: msg.Repository, Authorization: msg.Authorization}
	last := time.Now()
	tell := func(done, total int64) {
		if time.Since(last) < derivingEvery {
			return
		}
		last = time.Now()
		m.tell(&distribution.Deriving{ID: msg.ID, Done: done, Total: total})
	}
	binding, err := c.deps.Derive(c.ctx, src, distribution.View{Layers: msg.Layers, Lower: msg.Lower}, tell)
	if err == nil {
		return &distribution.Derived{ID: msg.ID, Binding: binding}
	}
	answer := &distribution.Derived{ID: msg.ID, Message: text(err)}
	var refusal *distribution.OriginError
	if errors.As(err, &refusal) {
		answer.Status = refusal.Status
	}
	return answer
}
