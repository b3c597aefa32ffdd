package diskstore

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// scanners is how many directories are read at once; the work is small reads.
const scanners = 4

// scan fills the table from the directories and cleans up what no object owns. The
// pins are known.
// It returns the objects with chunks that a crash left in doubt.
func (s *Store) scan() (unsure []*object, err error) {
	names, err := readNames(s.dir)
	if err != nil {
		return nil, err
	}
	firsts := make(chan byte)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range scanners {
		wg.Go(func() {
			for first := range firsts {
				found, doubtful, dirErr := s.scanDir(first)
				mu.Lock()
				for _, o := range found {
					s.insert(o)
				}
				unsure = append(unsure, doubtful...)
				err = errors.Join(err, dirErr)
				mu.Unlock()
			}
		})
	}
	for _, name := range names {
		first, ok := parseFan(name)
		path := filepath.Join(s.dir, name)
		switch {
		case ok:
			firsts <- first
		case strings.HasSuffix(name, tempSuffix):
			s.removeLeftover(path)
		case name != lockName && name != pinsName && name != bootName:
			s.log.Warn("a file that is not the store's lies in its directory", "file", path)
		}
	}
	close(firsts)
	wg.Wait()
	return unsure, err
}

// scanDir reads one fan-out directory.
func (s *Store) scanDir(first byte) (found, unsure []*object, err error) {
	dir := fanDir(s.dir, first)
	names, err := readNames(dir)
	if err != nil {
		return nil, nil, err
	}
	suffixes := make(map[chunk.Digest][]string)
	for _, name := range names {
		d, suffix, ok := parseName(name, first)
		switch {
		case ok:
			suffixes[d] = append(suffixes[d], suffix)
		case strings.HasSuffix(name, tempSuffix):
			s.removeLeftover(filepath.Join(dir, name))
		default:
			s.log.Warn("a file that is not the store's lies in its directory", "file", filepath.Join(dir, name))
		}
	}
	for d, has := range suffixes {
		o, doubtful, err := s.scanObject(d, has)
		if err != nil {
			return nil, nil, err
		}
		if o == nil {
			continue
		}
		found = append(found, o)
		if doubtful {
			unsure = append(unsure, o)
		}
	}
	return found, unsure, nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// removeLeftover removes a file that no object owns.
func (s *Store) removeLeftover(path string) {
	if err := removeFile(path); err != nil {
		s.log.Warn("removing a leftover file", "file", path, "error", err)
	}
}

// scanObject makes the table's entry of d from its have-map's marks, or removes
// its files when they are not an object. It tells whether there are chunks in
// doubt.
func (s *Store) scanObject(d chunk.Digest, suffixes []string) (o *object, unsure bool, err error) {
	path := Path(s.dir, d)
	m, err := readMarks(path, d)
	if err != nil && !isDamage(err) {
		return nil, false, err
	}
	if err != nil {
		s.metrics.damaged.Inc()
		s.log.Warn("removing an object whose files are damaged; it will be fetched again", "object", d, "error", err)
		for _, suffix := range suffixes {
			s.removeLeftover(path + suffix)
		}
		return nil, false, nil
	}
	o = newObject(s, d, m.size)
	o.used = m.used
	for _, suffix := range suffixes {
		o.sealed = o.sealed || suffix == sealSuffix
	}
	for i, mark := range m.marks {
		o.bytes += mark.bytes(m.size, i)
		if mark.state == durable {
			o.count++
		}
		unsure = unsure || mark.state == written
	}
	s.bytes.Add(o.bytes)
	if m.allocated > o.bytes+straySlack(o.bytes) && !s.pinned.has(d) {
		s.punchAbsent(path, m)
	}
	return o, unsure, nil
}

// marks is what is known of an object without its sums.
type marks struct {
	size      int64
	used      time.Time
	allocated int64
	marks     []mark
}

// readMarks reads the header and the marks of the have-map beside path.
func readMarks(path string, d chunk.Digest) (*marks, error) {
	data, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	have, err := os.Lstat(path + haveSuffix)
	if err != nil {
		return nil, err
	}
	if !data.Mode().IsRegular() || !have.Mode().IsRegular() {
		return nil, errDamaged
	}
	f, err := os.Open(path + haveSuffix)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf [headerSize + 64*markSize]byte
	n, err := f.ReadAt(buf[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	raw := buf[:n]
	size, err := decodeHeader(raw, d)
	if err != nil {
		return nil, err
	}
	if marksEnd(size) > int64(len(raw)) && n == len(buf) {
		raw = make([]byte, marksEnd(size))
		if n, err = f.ReadAt(raw, 0); err != nil && err != io.EOF {
			return nil, err
		}
		raw = raw[:n]
	}
	return &marks{size: size, used: have.ModTime(), allocated: allocated(data), marks: claimedMarks(raw, size)}, nil
}

// claimedMarks is what the marks in raw claim; missing ones are absent.
func claimedMarks(raw []byte, size int64) []mark {
	marks := make([]mark, chunk.Count(size))
	for i := range marks {
		at := markOffset(i)
		if at+markSize > int64(len(raw)) {
			break
		}
		marks[i] = claimedMark(raw[at:], chunk.BlockCount(chunk.Length(size, i)))
	}
	return marks
}

// straySlack is what a file system may take for a file beyond its bytes.
func straySlack(bytes int64) int64 { return 64<<10 + bytes/1024 }

// punchAbsent gives back what an earlier life wrote and never put.
func (s *Store) punchAbsent(path string, m *marks) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.log.Warn("giving stray bytes back", "file", path, "error", err)
		return
	}
	defer f.Close()
	for i, mark := range m.marks {
		if mark.state != absent {
			continue
		}
		if err := punch(f, int64(i)*chunk.Size, chunk.Length(m.size, i)); err != nil {
			s.log.Warn("giving stray bytes back", "file", path, "error", err)
			return
		}
	}
}
