package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

const (
	bufferSize = chunk.BlockSize
	writePiece = 1 << 20 // what must go out within Config.Stall
)

// refusal is an answer other than 206.
type refusal struct {
	status int
	result string // for the metric
	text   string
	header map[string]string
}

func busy(after time.Duration) *refusal {
	ms := strconv.FormatInt(after.Milliseconds(), 10)
	return &refusal{http.StatusTooManyRequests, "busy", "busy", map[string]string{headerRetry: ms}}
}

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	client, err := s.authenticate(r)
	if err != nil {
		s.log.Debug("exchange: request refused", "address", r.RemoteAddr, "error", err)
		w.Header().Set("Connection", "close") // and read no more of it
		s.refuse(w, refusalOf(err))
		return
	}
	object, refused := target(r)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		s.refuse(w, busy(100*time.Millisecond))
		return
	}
	s.m.uploads.Inc()
	defer s.m.uploads.Dec()
	u, refused := s.find(r, object)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	defer u.up.Close()
	result := "ok"
	if err := u.send(w); err != nil {
		// A body shorter than its Content-Length makes net/http cut the
		// connection, which is how the asker learns of it; it counts the bytes of a
		// packed one.
		s.log.Debug("exchange: upload was cut short", "node", string(client), "object", object.String(), "error", err)
		result = "aborted"
	}
	s.m.requests.WithLabelValues(result).Inc()
}

// refusalOf says why a request is not taken. Only a member learns more than 403.
func refusalOf(err error) *refusal {
	if full, ok := errors.AsType[*distribution.BusyError](err); ok {
		return busy(full.RetryAfter)
	}
	if errors.Is(err, errReused) {
		return &refusal{http.StatusConflict, "replayed", err.Error(), nil}
	}
	return &refusal{http.StatusForbidden, "forbidden", err.Error(), nil}
}

func target(r *http.Request) (chunk.Digest, *refusal) {
	if r.ContentLength != 0 {
		return chunk.Digest{}, &refusal{http.StatusBadRequest, "malformed", "no body", map[string]string{"Connection": "close"}}
	}
	if r.Method != http.MethodGet {
		return chunk.Digest{}, &refusal{http.StatusMethodNotAllowed, "malformed", "only GET", map[string]string{"Allow": "GET"}}
	}
	object, err := parsePath(r.RequestURI)
	if err != nil {
		return chunk.Digest{}, &refusal{http.StatusNotFound, "malformed", "no such resource", nil}
	}
	return object, nil
}

func (s *Server) refuse(w http.ResponseWriter, f *refusal) {
	s.m.requests.WithLabelValues(f.result).Inc()
	for name, value := range f.header {
		w.Header().Set(name, value)
	}
	http.Error(w, f.text, f.status)
}

// upload is one run of bytes being given.
type upload struct {
	s     *Server
	ctx   context.Context
	up    distribution.Upload
	where extent
	pack  bool  // the asker takes a packed run
	ready int64 // bytes of where that Await vouched for
}

// find looks for the object and waits for the first of the bytes.
func (s *Server) find(r *http.Request, object chunk.Digest) (*upload, *refusal) {
	up, err := s.uploads.Upload(object)
	if err != nil {
		return nil, s.failed(object, err)
	}
	u := &upload{s: s, ctx: r.Context(), up: up, pack: r.Header.Get("Accept-Encoding") == encodingZstd}
	if refused := u.begin(r.Header.Get("Range"), object); refused != nil {
		up.Close()
		return nil, refused
	}
	return u, nil
}

func (u *upload) begin(rng string, object chunk.Digest) *refusal {
	var err error
	if u.where, err = parseRange(rng, u.up.Size()); err != nil {
		return &refusal{http.StatusRequestedRangeNotSatisfiable, "malformed", err.Error(),
			map[string]string{"Content-Range": fmt.Sprintf("bytes */%d", u.up.Size())}}
	}
	if u.ready, err = u.await(u.where.off, u.where.n, u.s.cfg.FirstByte); err != nil {
		return u.s.failed(object, err)
	}
	return nil
}

// failed sorts what the store said.
func (s *Server) failed(object chunk.Digest, err error) *refusal {
	switch {
	case errors.Is(err, chunk.ErrNotFound), errors.Is(err, distribution.ErrAbsent):
		return &refusal{http.StatusNotFound, "absent", "absent", nil}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return busy(time.Second)
	}
	s.log.Warn("exchange: cannot read an object", "object", object.String(), "error", err)
	return &refusal{http.StatusInternalServerError, "failed", "cannot read the object", nil}
}

func (u *upload) await(off, n int64, within time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(u.ctx, within)
	defer cancel()
	ready, err := u.up.Await(ctx, off, n)
	if err == nil && (ready < 1 || ready > n) {
		err = fmt.Errorf("store vouched for %d of %d bytes", ready, n)
	}
	return ready, err
}

// send writes the header and then the bytes as they come.
func (u *upload) send(w http.ResponseWriter) error {
	size, h := u.up.Size(), w.Header()
	if sums := u.up.Sums(u.where.chunk()); len(sums) > 0 {
		text, err := formatSums(sums)
		if err != nil {
			return err
		}
		h.Set(headerSums, text)
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Range", u.where.contentRange(size))
	if u.pack {
		h.Set("Content-Encoding", encodingZstd)
	} else {
		h.Set("Content-Length", strconv.FormatInt(u.where.n, 10))
	}
	w.WriteHeader(http.StatusPartialContent)
	write, done, err := u.writer(w)
	if err != nil {
		return err
	}
	defer done()
	return u.stream(http.NewResponseController(w), write)
}

func (u *upload) stream(control *http.ResponseController, write writeFunc) error {
	off, left := u.where.off, u.where.n
	for left > 0 {
		if u.ready == 0 {
			// The next bytes may be long in coming: let those go that are here.
			if err := control.Flush(); err != nil {
				return err
			}
			var err error
			if u.ready, err = u.await(off, left, u.s.cfg.Stall); err != nil {
				return err
			}
		}
		if err := control.SetWriteDeadline(u.s.now().Add(u.s.cfg.Stall)); err != nil {
			return err
		}
		n, err := write(off, min(u.ready, writePiece))
		u.s.m.sent.Add(float64(n))
		if err != nil {
			return err
		}
		off, left, u.ready = off+n, left-n, u.ready-n
	}
	return nil
}

// writeFunc writes n bytes from off; calls follow each other without a gap.
type writeFunc func(off, n int64) (int64, error)

// writer chooses how bytes reach the wire: by sendfile in clear text from an
// object that has a file, else through a buffer.
func (u *upload) writer(w http.ResponseWriter) (writeFunc, func(), error) {
	if u.pack {
		return u.packed(w)
	}
	if u.s.tls == nil {
		f, err := u.up.File()
		if err != nil {
			return nil, nil, err
		}
		if f != nil {
			return u.sendfile(w, f)
		}
	}
	buf := u.s.buffers.Get().(*[]byte)
	write := func(off, n int64) (int64, error) {
		p := (*buf)[:min(n, bufferSize)]
		if _, err := u.up.ReadAt(p, off); err != nil && err != io.EOF {
			return 0, err
		}
		done, err := w.Write(p)
		return int64(done), err
	}
	return write, func() { u.s.buffers.Put(buf) }, nil
}

func (u *upload) sendfile(w http.ResponseWriter, f *os.File) (writeFunc, func(), error) {
	if _, err := f.Seek(u.where.off, io.SeekStart); err != nil {
		f.Close()
		return nil, nil, err
	}
	write := func(_, n int64) (int64, error) { return io.CopyN(w, f, n) }
	return write, func() { f.Close() }, nil
}
