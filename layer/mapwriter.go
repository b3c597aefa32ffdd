package layer

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/shoal-project/shoal/chunk"
)

// mapWriter writes a map file under a temporary name, front to back. Only finish
// gives it its name.
type mapWriter struct {
	path    string
	file    *os.File
	w       *bufio.Writer
	sum     hash.Hash
	at      int64    // where the next byte goes
	begins  []uint32 // of each entry's record, in units of mapAlign
	scratch []byte
}

func createMap(path string) (*mapWriter, error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, fmt.Errorf("create a layer map: %w", err)
	}
	m := &mapWriter{path: path, file: file, sum: sha256.New()}
	m.w = bufio.NewWriterSize(io.MultiWriter(file, m.sum), 64<<10)
	m.scratch = append(append(m.scratch, mapMagic...), mapVersion, 0, 0, 0, 0, 0, 0, 0)
	if err := m.flush(); err != nil {
		m.discard()
		return nil, err
	}
	return m, nil
}

// flush writes what scratch holds.
func (m *mapWriter) flush() error {
	n, err := m.w.Write(m.scratch)
	m.at += int64(n)
	m.scratch = m.scratch[:0]
	if err != nil {
		return fmt.Errorf("write a layer map: %w", err)
	}
	return nil
}

// add appends an entry, whose parts fit the format, and whose bytes, if they are
// in an object, are those of a file (else noFile).
func (m *mapWriter) add(e *Entry, file uint32) error {
	if m.at > maxRecords || len(m.begins) >= maxCount {
		return fmt.Errorf("%w: a map of %d entries and %d bytes", ErrLimit, len(m.begins), m.at)
	}
	m.begins = append(m.begins, uint32(m.at/mapAlign))
	m.scratch = appendRecord(m.scratch, e, file)
	return m.flush()
}

func appendRecord(p []byte, e *Entry, file uint32) []byte {
	start := len(p)
	be := binary.BigEndian
	p = append(p, byte(e.Type), 0)
	p = be.AppendUint16(p, uint16(e.Mode))
	p = be.AppendUint32(p, e.UID)
	p = be.AppendUint32(p, e.GID)
	p = be.AppendUint32(p, e.Nsec)
	p = be.AppendUint64(p, uint64(e.Sec))
	p = be.AppendUint64(p, uint64(e.Size)|e.Rdev) // one of them is zero
	p = be.AppendUint32(p, file)
	p = be.AppendUint16(p, uint16(len(e.Path)))
	p = be.AppendUint16(p, uint16(len(e.Target)))
	p = be.AppendUint16(p, uint16(len(e.Inline)))
	var holes []byte
	if e.Holes != nil {
		holes = e.Holes.Bytes()
	}
	p = be.AppendUint16(p, uint16(len(holes)))
	p = be.AppendUint32(p, 0) // of the attributes, known below
	p = append(append(append(append(p, e.Path...), e.Target...), e.Inline...), holes...)
	attributes := len(p)
	for _, x := range e.Xattrs {
		p = append(append(p, byte(len(x.Name))), x.Name...)
		p = append(be.AppendUint16(p, uint16(len(x.Value))), x.Value...)
	}
	be.PutUint32(p[start+recXattrs:], uint32(len(p)-attributes))
	for (len(p)-start)%mapAlign != 0 {
		p = append(p, 0)
	}
	return p
}

// finish writes the tables, makes the file durable and gives it its name. Objects
// that nothing points into any more are left out; renumber has the number of each
// of the rest.
func (m *mapWriter) finish(files *fileTable, objects []Object, renumber []uint32, diffID chunk.Digest, plain int64) error {
	for i := range files.n {
		d, p := files.digest(i), files.place(i)
		m.scratch = append(m.scratch, d[:]...)
		m.scratch = binary.BigEndian.AppendUint32(m.scratch, renumber[p.object])
		m.scratch = binary.BigEndian.AppendUint32(m.scratch, p.offset)
		if err := m.flush(); err != nil {
			return err
		}
	}
	for _, o := range objects {
		m.scratch = appendObject(m.scratch, o)
		if err := m.flush(); err != nil {
			return err
		}
	}
	for _, begin := range m.begins {
		m.scratch = binary.BigEndian.AppendUint32(m.scratch, begin)
		if err := m.flush(); err != nil {
			return err
		}
	}
	m.scratch = append(m.scratch, diffID[:]...)
	for _, n := range []int{len(m.begins), files.n, len(objects), 0} {
		m.scratch = binary.BigEndian.AppendUint32(m.scratch, uint32(n))
	}
	m.scratch = binary.BigEndian.AppendUint64(m.scratch, uint64(plain))
	if err := m.flush(); err != nil {
		return err
	}
	return m.seal()
}

func appendObject(p []byte, o Object) []byte {
	p = append(p, o.Digest[:]...)
	p = binary.BigEndian.AppendUint64(p, uint64(o.Size))
	var pack byte
	if o.Pack {
		pack = 1
	}
	return append(p, pack, 0, 0, 0, 0, 0, 0, 0)
}

// seal appends the checksum and gives the file its name, durably.
func (m *mapWriter) seal() error {
	if err := m.w.Flush(); err != nil {
		return fmt.Errorf("write a layer map: %w", err)
	}
	if _, err := m.file.Write(m.sum.Sum(nil)); err != nil {
		return fmt.Errorf("write a layer map: %w", err)
	}
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("make a layer map durable: %w", err)
	}
	if err := m.file.Close(); err != nil {
		return fmt.Errorf("close a layer map: %w", err)
	}
	if err := os.Rename(m.file.Name(), m.path); err != nil {
		return fmt.Errorf("name a layer map: %w", err)
	}
	dir, err := os.Open(filepath.Dir(m.path))
	if err != nil {
		return fmt.Errorf("make a layer map durable: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("make a layer map durable: %w", err)
	}
	return nil
}

// discard removes what was written, unless it has its name.
func (m *mapWriter) discard() {
	m.file.Close()
	os.Remove(m.file.Name())
}
