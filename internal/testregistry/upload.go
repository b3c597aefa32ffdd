package testregistry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
)

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// uploads are the blobs being pushed: one file each, named by number.
type uploads struct {
	dir  string
	next atomic.Int64
}

func (u *uploads) file(id string) string { return filepath.Join(u.dir, id) }

// upload answers the requests of a push: POST begins, PATCH appends, PUT ends.
// A single POST or PUT may carry the whole blob.
func (e *Embedded) upload(w http.ResponseWriter, r *http.Request, base, id string) {
	switch {
	case r.Method == http.MethodPost && id == "":
		id = strconv.FormatInt(e.uploads.next.Add(1), 10)
		if r.URL.Query().Has("digest") {
			e.finish(w, r, id)
			return
		}
		e.receive(w, r, base, id)
	case r.Method == http.MethodPatch && id != "":
		e.receive(w, r, base, id)
	case r.Method == http.MethodPut && id != "":
		e.finish(w, r, id)
	default:
		failure(w, http.StatusMethodNotAllowed, "UNSUPPORTED", r.Method+" of an upload")
	}
}

func (e *Embedded) receive(w http.ResponseWriter, r *http.Request, base, id string) {
	size, err := e.uploads.append(id, r.Body)
	if err != nil {
		failure(w, http.StatusBadRequest, "BLOB_UPLOAD_INVALID", err.Error())
		return
	}
	w.Header().Set("Location", base+id)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(size-1, 0)))
	w.WriteHeader(http.StatusAccepted)
}

func (e *Embedded) finish(w http.ResponseWriter, r *http.Request, id string) {
	digest := r.URL.Query().Get("digest")
	if !digestForm.MatchString(digest) {
		failure(w, http.StatusBadRequest, "DIGEST_INVALID", "not a sha256 digest: "+digest)
		return
	}
	if _, err := e.uploads.append(id, r.Body); err != nil {
		failure(w, http.StatusBadRequest, "BLOB_UPLOAD_INVALID", err.Error())
		return
	}
	if err := e.uploads.commit(id, digest, e.blobFile(digest)); err != nil {
		failure(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
}

// append adds a body to an upload and tells its size so far.
func (u *uploads) append(id string, body io.Reader) (int64, error) {
	f, err := os.OpenFile(u.file(id), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(f, body)
	info, statErr := f.Stat()
	if err := errors.Join(err, statErr, f.Close()); err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// commit checks an upload against its digest and gives it its name.
func (u *uploads) commit(id, digest, name string) error {
	f, err := os.Open(u.file(id))
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return errors.Join(fmt.Errorf("the upload's digest is %s, not %s", got, digest), os.Remove(u.file(id)))
	}
	return os.Rename(u.file(id), name)
}

// failure answers in the form of the OCI distribution specification.
func failure(w http.ResponseWriter, status int, code, message string) {
	body, err := json.Marshal(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
	if err != nil {
		body = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}
