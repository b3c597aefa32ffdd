package testregistry

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Request is one answered request.
type Request struct {
	Method string
	Path   string // with the query
	Status int
	Bytes  int64 // of the response's body
}

// Log is what a registry answered, in the order in which it finished.
type Log []Request

var blobPath = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]{64})$`)

// Blob is the digest that the request is about, or "".
func (r Request) Blob() string {
	m := blobPath.FindStringSubmatch(r.Path)
	if m == nil {
		return ""
	}
	return m[2]
}

// delivered tells a GET that was answered with bytes of a blob.
func (r Request) delivered() bool {
	return r.Method == http.MethodGet && (r.Status == http.StatusOK || r.Status == http.StatusPartialContent) && r.Blob() != ""
}

// BlobBytes are the bytes of blob bodies sent, whole or in ranges, by digest.
func (l Log) BlobBytes() map[string]int64 {
	sent := map[string]int64{}
	for _, r := range l {
		if r.delivered() {
			sent[r.Blob()] += r.Bytes
		}
	}
	return sent
}

// TotalBlobBytes is the sum of [Log.BlobBytes].
func (l Log) TotalBlobBytes() int64 {
	var sum int64
	for _, n := range l.BlobBytes() {
		sum += n
	}
	return sum
}

// Blobs counts the requests for a blob by a method, whatever their answer.
func (l Log) Blobs(method, digest string) int {
	n := 0
	for _, r := range l {
		if r.Method == method && r.Blob() == digest {
			n++
		}
	}
	return n
}

// Manifests counts the requests for manifests by a method.
func (l Log) Manifests(method string) int {
	n := 0
	for _, r := range l {
		if r.Method == method && strings.Contains(r.Path, "/manifests/") {
			n++
		}
	}
	return n
}

// logLine is Apache's combined format, as docker-registry writes it.
var logLine = regexp.MustCompile(`^\S+ \S+ \S+ \[[^\]]*\] "([A-Z]+) (\S+) HTTP/[0-9.]+" ([0-9]{3}) ([0-9]+|-)(?: |$)`)

// ParseLog reads an access log. Lines of another form (the registry's other
// messages, a line cut short) are passed over.
func ParseLog(r io.Reader) (Log, error) {
	var log Log
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if m := logLine.FindStringSubmatch(line); m != nil && strings.HasSuffix(line, "\n") {
			status, _ := strconv.Atoi(m[3])
			size, _ := strconv.ParseInt(m[4], 10, 64)
			log = append(log, Request{Method: m[1], Path: m[2], Status: status, Bytes: size})
		}
		if err == io.EOF {
			return log, nil
		}
		if err != nil {
			return log, err
		}
	}
}
