package exchange

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

const odd = chunk.Size + 3*chunk.BlockSize + 77 // the second chunk and its last block are short

func TestRunsArriveAsTheyAre(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		memory, file := newObject(odd), newObject(odd+1).onDisk(t)
		from, _ := serve(t, cfg, storeOf(memory, file))
		client := newTestClient(t, cfg, networkKey)
		for _, o := range []*object{memory, file} {
			for _, run := range []distribution.Span{{First: 0, N: 16}, {First: 3, N: 1}, {First: 5, N: 7}, {First: 16, N: 4}, {First: 19, N: 1}} {
				tr, err := client.Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: run})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(tr.Body)
				tr.Body.Close()
				where, _ := extentOf(o.Size(), run)
				if err != nil || !bytes.Equal(got, o.data[where.off:where.off+where.n]) {
					t.Errorf("%s: %d bytes, %v", run, len(got), err)
				}
				if diff := cmp.Diff(o.Sums(where.chunk()), tr.Sums); diff != "" {
					t.Errorf("%s: sums differ\n%s", run, diff)
				}
			}
			if !o.balanced() {
				t.Error("an upload was not closed")
			}
		}
		if n := value(t, client.m.handshakes.WithLabelValues("full")); cfg.Security == TLS && n != 1 {
			t.Errorf("%v handshakes for one run after another, want 1", n)
		}
	})
}

// Cut-through: each block arrives before the next is released.
func TestBlocksArriveOneByOne(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		o := newObject(4*chunk.BlockSize + 9).onDisk(t)
		o.release(1, nil)
		from, _ := serve(t, cfg, storeOf(o))
		tr, err := newTestClient(t, cfg, networkKey).Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: distribution.Span{N: 5}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Body.Close()
		if tr.Sums != nil {
			t.Error("sums before all blocks are known")
		}
		var got []byte
		for len(got) < len(o.data) {
			o.release(min(int64(len(got))+chunk.BlockSize, o.Size()), nil)
			part := make([]byte, min(chunk.BlockSize, len(o.data)-len(got)))
			if _, err := io.ReadFull(tr.Body, part); err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, part...)
		}
		if n, err := tr.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the run: %d bytes, %v", n, err)
		}
		if !bytes.Equal(got, o.data) {
			t.Error("the bytes differ")
		}
	})
}

func TestCutUploadsAreNoticed(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		cfg.Stall = 100 * time.Millisecond
		for name, cause := range map[string]error{"bytes that never come": nil, "bytes that are void": distribution.ErrAbsent} {
			o := newObject(3 * chunk.BlockSize)
			o.release(chunk.BlockSize, cause)
			from, srv := serve(t, cfg, storeOf(o))
			tr, err := newTestClient(t, cfg, networkKey).Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: distribution.Span{N: 3}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(tr.Body)
			if len(got) != chunk.BlockSize || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
			tr.Body.Close()
			eventually(t, func() bool { return len(srv.slots) == 0 && o.balanced() })
		}
	})
}

// eventually waits for what another goroutine does after it answered.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for ctx := within(t); !ok(); time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("it never came true")
		}
	}
}

func TestRefusalsAreTold(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		cfg.FirstByte = 50 * time.Millisecond
		here, absent, coming := newObject(chunk.BlockSize), newObject(10), newObject(20)
		gone := newObject(30)
		coming.release(0, nil)
		gone.release(0, distribution.ErrAbsent)
		from, _ := serve(t, cfg, storeOf(here, coming, gone))
		client := newTestClient(t, cfg, networkKey)
		one := distribution.Span{N: 1}
		fetch := func(o *object, size int64) error {
			_, err := client.Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: size, Span: one})
			return err
		}
		if err := fetch(absent, 10); !errors.Is(err, distribution.ErrAbsent) {
			t.Errorf("absent object: %v", err)
		}
		if err := fetch(gone, 30); !errors.Is(err, distribution.ErrAbsent) {
			t.Errorf("absent blocks: %v", err)
		}
		if busy, ok := errors.AsType[*distribution.BusyError](fetch(coming, 20)); !ok || busy.RetryAfter != time.Second {
			t.Errorf("blocks that are long in coming: %v", busy)
		}
		if err := fetch(here, 2*chunk.BlockSize); err == nil || !strings.Contains(err.Error(), "answer is for") {
			t.Errorf("another size: %v", err)
		}
		if err := fetch(here, 10); err == nil || !strings.Contains(err.Error(), "416") {
			t.Errorf("a range inside a block: %v", err)
		}
		for _, run := range []distribution.Span{{}, {First: 1, N: 1}, {N: 2}, {First: 1<<32 - 1, N: 1<<32 - 1}} {
			if _, err := client.Fetch(within(t), from, distribution.Run{Object: here.digest(), Size: here.Size(), Span: run}); !errors.Is(err, errRange) {
				t.Errorf("run %s: %v", run, err)
			}
		}
	})
}

func TestSlotsAreBounded(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		cfg.Slots = 1
		o := newObject(2 * chunk.BlockSize)
		o.release(chunk.BlockSize, nil)
		from, srv := serve(t, cfg, storeOf(o))
		client := newTestClient(t, cfg, networkKey)
		first, err := client.Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: distribution.Span{N: 2}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: distribution.Span{N: 1}})
		if busy, ok := errors.AsType[*distribution.BusyError](err); !ok || busy.RetryAfter <= 0 {
			t.Errorf("no slot left: %v", err)
		}
		first.Body.Close() // giving up frees the slot
		eventually(t, func() bool { return len(srv.slots) == 0 })
		again, err := client.Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: distribution.Span{N: 1}})
		if err != nil {
			t.Fatal(err)
		}
		again.Body.Close()
	})
}

func TestManyAtOnce(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		o := newObject(odd).onDisk(t)
		from, _ := serve(t, cfg, storeOf(o))
		var wg sync.WaitGroup
		for range 4 {
			client := newTestClient(t, cfg, networkKey)
			for i := range 8 {
				wg.Go(func() {
					run := distribution.Span{First: uint32(i), N: 2}
					tr, err := client.Fetch(within(t), from, distribution.Run{Object: o.digest(), Size: o.Size(), Span: run})
					if err != nil {
						t.Error(err)
						return
					}
					defer tr.Body.Close()
					got, err := io.ReadAll(tr.Body)
					if off := i * chunk.BlockSize; err != nil || !bytes.Equal(got, o.data[off:off+2*chunk.BlockSize]) {
						t.Errorf("%s: %d bytes, %v", run, len(got), err)
					}
				})
			}
		}
		wg.Wait()
	})
}

func TestASessionIsResumed(t *testing.T) {
	o := newObject(100)
	from, _ := serve(t, configOf(TLS), storeOf(o))
	client := newTestClient(t, configOf(TLS), networkKey)
	fetch := func(m distribution.Member) error {
		tr, err := client.Fetch(within(t), m, distribution.Run{Object: o.digest(), Size: o.Size(), Span: distribution.Span{N: 1}})
		if err != nil {
			return err
		}
		defer tr.Body.Close()
		_, err = io.Copy(io.Discard, tr.Body)
		return err
	}
	for range 3 {
		if err := fetch(from); err != nil {
			t.Fatal(err)
		}
		client.Close() // the next one needs a connection
	}
	if n := value(t, client.m.handshakes.WithLabelValues("resumed")); n != 2 {
		t.Errorf("%v sessions were resumed, want 2", n)
	}
	// A session with one node is none with another at the same address.
	if err := fetch(distribution.Member{ID: newNode(t).id, Chunks: from.Chunks}); !errors.Is(err, distribution.ErrMembership) {
		t.Errorf("got %v", err)
	}
}

func TestPackedRunsArriveAsTheyAre(t *testing.T) {
	eachSecurity(t, func(t *testing.T, cfg Config) {
		text := newObject(odd)
		copy(text.data, bytes.Repeat([]byte("shoal of fish, "), odd/30)) // half packs well, half does not
		from, _ := serve(t, cfg, storeOf(text))
		client := newTestClient(t, cfg, networkKey)
		for _, run := range []distribution.Span{{First: 0, N: 16}, {First: 3, N: 1}, {First: 19, N: 1}, {First: 16, N: 4}} {
			tr, err := client.Fetch(within(t), from, distribution.Run{Object: text.digest(), Size: text.Size(), Span: run, Packed: true})
			if err != nil {
				t.Fatal(err)
			}
			where, _ := extentOf(text.Size(), run)
			got := make([]byte, where.n)
			_, err = io.ReadFull(tr.Body, got)
			if end, e := tr.Body.Read(make([]byte, 1)); end != 0 || e != io.EOF {
				t.Errorf("%s: %d bytes and %v behind the run", run, end, e)
			}
			tr.Body.Close()
			if err != nil || !bytes.Equal(got, text.data[where.off:where.off+where.n]) {
				t.Errorf("%s: other bytes, or %v", run, err)
			}
		}
		if got := value(t, client.m.received); got > float64(2*odd) {
			t.Errorf("%v bytes came over the wire", got)
		}
	})
}
