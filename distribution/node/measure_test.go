package node

import (
	"context"
	"io"
	"testing"

	"github.com/shoal-project/shoal/distribution"
)

// BenchmarkMessages counts small messages one way through two nodes in one
// process, coalesced as they come.
func BenchmarkMessages(b *testing.B) {
	key := NewNetworkKey()
	server, client := start(b, key, nil), start(b, key, nil)
	got := make(chan int, 1)
	server.Handle(Control, func(ctx context.Context, c distribution.Conn) {
		n := 0
		for {
			if _, err := c.Receive(ctx); err != nil {
				got <- n
				return
			}
			n++
		}
	})
	c, err := client.Dial(within(b), server.ID(), server.Addr(), Control)
	if err != nil {
		b.Fatal(err)
	}
	m := samples()[6]
	b.ReportAllocs()
	sent := 0
	for b.Loop() {
		if err := c.Send(b.Context(), m); err != nil && err != io.EOF {
			b.Fatal(err)
		}
		sent++
	}
	c.Close()
	if n := <-got; n != sent {
		b.Errorf("%d of %d messages arrived", n, sent)
	}
}
