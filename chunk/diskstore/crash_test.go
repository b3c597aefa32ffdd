package diskstore

import (
	"bufio"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// childDir names the store that this test binary, run again as a child, writes
// until it is killed; childSeed is where its contents begin.
const (
	childDir  = "SHOAL_TEST_CRASH_DIR"
	childSeed = "SHOAL_TEST_CRASH_SEED"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := writeForEver(dir, os.Getenv(childSeed)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func crashContent(seed byte) storetest.Content {
	return storetest.NewSparse(seed, chunk.Size+3*chunk.BlockSize+77, 0, 7, 8, 17)
}

// writeForEver puts objects and says so on standard output, chunk by chunk.
func writeForEver(dir, from string) error {
	var seed byte
	if _, err := fmt.Sscan(from, &seed); err != nil {
		return err
	}
	cfg := Default()
	cfg.MinFree, cfg.SyncBytes, cfg.SyncInterval = 0, chunk.Size, 5*time.Millisecond
	s, err := Open(dir, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	for ; ; seed++ {
		store := putAloud
		if seed%2 == 1 {
			store = ingestAloud
		}
		if err := store(s, seed, crashContent(seed)); err != nil {
			return err
		}
	}
}

func putAloud(s *Store, seed byte, c storetest.Content) error {
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		return err
	}
	for _, i := range []int{1, 0} {
		if _, err := o.WriteAt(c.Chunk(i), int64(i)*chunk.Size); err != nil {
			return err
		}
		if err := o.Put(i, c.Sums(i)); err != nil {
			return err
		}
		fmt.Println(seed, i)
	}
	return o.Close()
}

func ingestAloud(s *Store, seed byte, c storetest.Content) error {
	in, err := s.Ingest(c.Size())
	if err != nil {
		return err
	}
	if _, err := in.Write(c.Bytes); err != nil {
		return err
	}
	o, err := in.Commit()
	if err != nil {
		return err
	}
	fmt.Printf("%d 0\n%d 1\n", seed, seed)
	return o.Close()
}

type putChunk struct {
	seed byte
	i    int
}

// killChild runs a child and kills it after a while; it returns what the child
// said that it had put.
func killChild(t *testing.T, dir string, seed int, after time.Duration) (puts []putChunk) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childSeed, seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if len(puts) == 0 {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		var p putChunk
		if _, err := fmt.Sscan(lines.Text(), &p.seed, &p.i); err != nil {
			t.Fatalf("the child said %q: %v", lines.Text(), err)
		}
		puts = append(puts, p)
	}
	if err := cmd.Wait(); err == nil || len(puts) == 0 {
		t.Fatalf("the child put %d chunks and ended by itself, error %v", len(puts), err)
	}
	return puts
}

func TestKilledAtRandom(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		puts := killChild(t, dir, round*40, time.Duration(rand.IntN(60_000))*time.Microsecond)
		s := openStore(t, dir, quiet())
		bySeed := map[byte][]int{}
		for _, p := range puts {
			bySeed[p.seed] = append(bySeed[p.seed], p.i)
		}
		for seed, chunks := range bySeed {
			checkSurvivor(t, s, crashContent(seed), chunks)
		}
		var bytes int64
		for _, info := range s.Objects() {
			bytes += presentBytes(t, s, info)
		}
		if got := s.Usage().Bytes; got != bytes {
			t.Errorf("the store counts %d bytes, its chunks have %d", got, bytes)
		}
		if left := temporaries(t, dir); len(left) != 0 {
			t.Errorf("a killed ingest left %v", left)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSurvivor verifies that c's object has at least these chunks, and right.
func checkSurvivor(t *testing.T, s *Store, c storetest.Content, chunks []int) {
	t.Helper()
	o, err := s.Open(c.Digest)
	if err != nil {
		t.Errorf("an object with acknowledged chunks is gone: %v", err)
		return
	}
	defer o.Close()
	c.VerifyPresent(t, o)
	for _, i := range chunks {
		if !o.Have().Has(i) {
			t.Errorf("chunk %d of %s was acknowledged and is gone", i, c.Digest)
		}
	}
}

// presentBytes is what an object's present chunks count for, all of them checked
// against their sums.
func presentBytes(t *testing.T, s *Store, info chunk.Info) (n int64) {
	t.Helper()
	o, err := s.Open(info.Digest)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer o.Close()
	have := o.Have()
	buf := make([]byte, chunk.BlockSize)
	for i := have.NextSet(0); i < have.Len(); i = have.NextSet(i + 1) {
		n += mark{durable, o.Sums(i).Zeros(chunk.Length(o.Size(), i))}.bytes(o.Size(), i)
		if !chunkMatches(o, o.Size(), i, o.Sums(i), buf) {
			t.Errorf("chunk %d of %s is present and wrong", i, info.Digest)
		}
	}
	return n
}
