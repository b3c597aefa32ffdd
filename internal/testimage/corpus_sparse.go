package testimage

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// fragment is a run of data of a sparse file.
type fragment struct{ offset, length int64 }

// sparseFile is a sparse file as the four formats of GNU tar spell it.
type sparseFile struct {
	name  string
	size  int64
	parts []fragment
}

func sparseCases() []Case {
	files := []sparseFile{
		{"holes", 3 << 20, []fragment{{0, 512}, {1 << 20, 1000}, {2 << 20, 4096}, {3 << 20, 0}}},
		{"only-a-hole", 10 << 20, []fragment{{10 << 20, 0}}},
		{"ends-in-data", 5<<20 + 100, []fragment{{5 << 20, 100}}},
		{"many", 60 << 10, everyOther(60)},
		{"large", 21 << 20, []fragment{{0, 10}, {13 << 20, 3000}, {21 << 20, 0}}},
	}
	cases := []Case{}
	for _, format := range []struct {
		name  string
		write func(sparseFile) []byte
	}{{"old GNU", oldGNU}, {"PAX 0.0", pax00}, {"PAX 0.1", pax01}, {"PAX 1.0", pax10}} {
		var members [][]byte
		for _, f := range files {
			members = append(members, format.write(f))
		}
		members = append(members, header("after", '0', 5), block([]byte("after")))
		cases = append(cases, Case{Name: "sparse files, " + format.name, Layers: []Source{Raw(members...)}})
	}
	cases[0].Like = cases[3].Name // containerd and umoci refuse old GNU sparse files
	return cases
}

// everyOther has n fragments of 512 bytes with as much between: more than fit
// into one header.
func everyOther(n int64) (parts []fragment) {
	for i := range n {
		parts = append(parts, fragment{i * 1024, 512})
	}
	return parts
}

// data is what the fragments hold, one after the other.
func (f sparseFile) data() []byte {
	var total int64
	for _, p := range f.parts {
		total += p.length
	}
	data, _ := io.ReadAll(io.LimitReader(chacha(uint64(total), 6<<32), total))
	return data
}

// block pads to whole blocks.
func block(p []byte) []byte { return append(p, make([]byte, -len(p)&511)...) }

// header is a ustar header block.
func header(name string, typ byte, size int64) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00", size, epoch.Unix()))
	h[156] = typ
	copy(h[257:], "ustar\x0000")
	return checksummed(h)
}

func checksummed(h []byte) []byte {
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// oldGNU has up to four fragments in the header and 21 in each block after it.
func oldGNU(f sparseFile) []byte {
	data := f.data()
	h := header(f.name, 'S', int64(len(data)))
	copy(h[257:], "ustar  \x00")
	rest := fill(h[386:482], f.parts)
	if len(rest) > 0 {
		h[482] = 1
	}
	copy(h[483:], fmt.Sprintf("%011o\x00", f.size))
	out := checksummed(h)
	for len(rest) > 0 {
		more := make([]byte, 512)
		rest = fill(more[:504], rest)
		if len(rest) > 0 {
			more[504] = 1
		}
		out = append(out, more...)
	}
	return append(out, block(data)...)
}

// fill writes fragments of 24 bytes into p and gives those that did not fit.
func fill(p []byte, parts []fragment) []fragment {
	for len(p) >= 24 && len(parts) > 0 {
		copy(p, fmt.Sprintf("%011o\x00%011o\x00", parts[0].offset, parts[0].length))
		p, parts = p[24:], parts[1:]
	}
	return parts
}

// record is a PAX record, which begins with its own length.
func record(key, value string) string {
	body := " " + key + "=" + value + "\n"
	n := len(body) + 1
	for len(fmt.Sprint(n))+len(body) != n {
		n++
	}
	return fmt.Sprint(n) + body
}

func pax(f sparseFile, records string, stored []byte) []byte {
	out := append(header("PaxHeaders/"+f.name, 'x', int64(len(records))), block([]byte(records))...)
	out = append(out, header(f.name, '0', int64(len(stored)))...)
	return append(out, block(stored)...)
}

func pax00(f sparseFile) []byte {
	var r strings.Builder
	r.WriteString(record("GNU.sparse.size", fmt.Sprint(f.size)) + record("GNU.sparse.numblocks", fmt.Sprint(len(f.parts))))
	for _, p := range f.parts {
		r.WriteString(record("GNU.sparse.offset", fmt.Sprint(p.offset)) + record("GNU.sparse.numbytes", fmt.Sprint(p.length)))
	}
	return pax(f, r.String(), f.data())
}

func pax01(f sparseFile) []byte {
	var numbers []string
	for _, p := range f.parts {
		numbers = append(numbers, fmt.Sprint(p.offset), fmt.Sprint(p.length))
	}
	return pax(f, record("GNU.sparse.size", fmt.Sprint(f.size))+record("GNU.sparse.numblocks", fmt.Sprint(len(f.parts)))+
		record("GNU.sparse.name", f.name)+record("GNU.sparse.map", strings.Join(numbers, ",")), f.data())
}

func pax10(f sparseFile) []byte {
	var m bytes.Buffer
	fmt.Fprintln(&m, len(f.parts))
	for _, p := range f.parts {
		fmt.Fprintf(&m, "%d\n%d\n", p.offset, p.length)
	}
	return pax(f, record("GNU.sparse.major", "1")+record("GNU.sparse.minor", "0")+
		record("GNU.sparse.name", f.name)+record("GNU.sparse.realsize", fmt.Sprint(f.size)), append(block(m.Bytes()), f.data()...))
}
