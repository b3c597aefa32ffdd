//go:build e2e && linux

package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A daemon that is killed while it mounts, at any moment, leaves nothing that the
// next one does not go on with or take away: every image that `lazyfs mount` said
// was mounted reads as it should, every other directory can be mounted on.
func TestKilledWhileMounting(t *testing.T) {
	s := startSite(t)
	node := s.lastingNode(t)
	contents := [][]byte{noise(171, 9<<20), noise(172, 5<<20), noise(173, 5<<20)}
	var names []string
	for i, content := range contents {
		names = append(names, s.push(t, "killed/image:"+string(rune('a'+i)), layered(t, "killed"+string(rune('a'+i)), content)))
	}
	random := rand.New(rand.NewPCG(17, 1))
	mounted := map[string]int{} // which image, by directory
	for i := range *kills {
		which := i % len(names)
		type result struct {
			dir string
			err error
		}
		done := make(chan result, 1)
		go func() {
			dir, err := node.tryMount(t, names[which])
			done <- result{dir, err}
		}()
		time.Sleep(time.Duration(random.IntN(120)) * time.Millisecond)
		node.kill()
		node.run(t)
		r := <-done
		if r.err != nil { // it may have been mounted all the same, when nobody could say so any more
			if _, err := node.order(t, "unmount", r.dir); err != nil && !strings.Contains(err.Error(), "no image is mounted") {
				t.Errorf("%v, after %v", err, r.err)
			}
			if _, err := node.order(t, "mount", "-q", names[which], r.dir); err != nil {
				t.Fatalf("mounting again what failed with %v: %v", r.err, err)
			}
		}
		mounted[r.dir] = which
		if i%4 == 3 { // the last one of an image goes, and comes anew
			for dir := range mounted {
				node.unmount(t, dir)
				delete(mounted, dir)
			}
		}
	}
	mounted[node.mount(t, names[0])] = 0
	for dir, which := range mounted {
		if got := command(t, nil, "sh", "-c", "sha256sum < "+dir+"/data/large"); got != sumOf(contents[which]) {
			t.Errorf("%s of image %d reads as %q", dir, which, got)
		}
	}
	node.shutdown(t)
}
