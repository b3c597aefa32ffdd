//go:build linux

package lazyfs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// The daemon's own routes on its Unix socket:
//
//	POST   /v1/mounts    a MountOrder; JSON lines of MountNews
//	DELETE /v1/mounts    ?target=DIR, and &detach
//	POST   /v1/verify    a VerifyOrder; JSON lines of VerifyNews
//	GET    /v1/events    JSON lines of Event, until the client leaves
//	POST   /v1/shutdown  a ShutdownOrder; an EndingDaemon, which leaves no mount
//	POST   /v1/leave     an EndingDaemon, which ends as by SIGTERM
func (d *Daemon) Routes() []admin.Route {
	local := func(pattern string, h http.HandlerFunc) admin.Route {
		return admin.Route{Pattern: pattern, Local: true, Handler: h}
	}
	return []admin.Route{
		local("POST /v1/mounts", d.postMount),
		local("DELETE /v1/mounts", d.deleteMount),
		local("POST /v1/verify", d.postVerify),
		local("GET /v1/events", d.getEvents),
		local("POST /v1/shutdown", d.postShutdown),
		local("POST /v1/leave", d.postLeave),
	}
}

// MountOrder asks for a mount, and perhaps to wait until the image is complete.
type MountOrder struct {
	MountRequest
	Wait bool `json:"wait,omitempty"`
}

// MountNews is how far a mount is; the last line has Done or Error.
type MountNews struct {
	Progress *nodeapi.Progress `json:"progress,omitempty"`
	Mount    *Mount            `json:"mount,omitempty"` // it is there now
	Fill     *content.Progress `json:"fill,omitempty"`
	Done     bool              `json:"done,omitempty"`
	Error    string            `json:"error,omitempty"`
}

// VerifyOrder names an image, in the ways of [ImageStatus.Is].
type VerifyOrder struct {
	Image string `json:"image"`
}

// VerifyNews is how far a verification is; the last line has Done or Error.
type VerifyNews struct {
	Reference string `json:"reference"`
	content.Verified
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

func (d *Daemon) postMount(w http.ResponseWriter, r *http.Request) {
	var order MountOrder
	if !read(w, r, &order) {
		return
	}
	say := admin.SayLines[MountNews](w)
	m, err := d.Mount(r.Context(), order.MountRequest, func(p nodeapi.Progress) { say(MountNews{Progress: &p}) })
	if err == nil {
		say(MountNews{Mount: m})
		if order.Wait {
			err = d.waitComplete(r.Context(), m.Target, func(p content.Progress) { say(MountNews{Fill: &p}) })
		}
	}
	if err != nil {
		say(MountNews{Error: err.Error()})
		return
	}
	say(MountNews{Done: true})
}

// waitEvery is how often somebody who waits is told how far it is.
const waitEvery = 500 * time.Millisecond

// waitComplete returns when the image on a directory is complete.
func (d *Daemon) waitComplete(ctx context.Context, target string, tell func(content.Progress)) error {
	im, _ := d.find(target)
	if im == nil {
		return errors.New("it was unmounted meanwhile")
	}
	ticker := time.NewTicker(waitEvery)
	defer ticker.Stop()
	for {
		tell(im.content.Progress())
		select {
		case <-im.content.Done():
			tell(im.content.Progress())
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ctx.Done():
			return errors.New("the daemon is going down")
		case <-ticker.C:
			if !d.cfg.Fill {
				return errors.New("it is mounted, and will not become complete by itself: fill.enabled is off")
			}
			if why := im.content.Progress().NoRoom; why != "" {
				return errors.New("it is mounted, and will not become complete: " + why)
			}
		}
	}
}

// find is a served image by what [ImageStatus.Is] takes, and what is known of it
// now; nil if there is none.
func (d *Daemon) find(what string) (*image, *nodeapi.Image) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, im := range d.images {
		if describe(im.record).Is(what) {
			return im, im.record.Image
		}
	}
	return nil, nil
}

func (d *Daemon) deleteMount(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if err := d.Unmount(query.Get("target"), query.Has("detach")); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Daemon) postVerify(w http.ResponseWriter, r *http.Request) {
	var order VerifyOrder
	if !read(w, r, &order) {
		return
	}
	im, known := d.find(order.Image)
	if im == nil {
		http.Error(w, fmt.Sprintf("no image %s is mounted; `lazyfs ls` lists what is", order.Image), http.StatusNotFound)
		return
	}
	say := admin.SayLines[VerifyNews](w)
	news := VerifyNews{Reference: known.Reference}
	found, err := im.content.Verify(r.Context(), func(v content.Verified) {
		news.Verified = v
		say(news)
	})
	news.Verified = found
	if damaged := d.verifyTree(known); damaged != nil {
		news.Bad = append(news.Bad, damaged.Error())
	}
	if err != nil {
		news.Error = err.Error()
	}
	news.Done = err == nil
	say(news)
}

// verifyTree hashes an image's tree anew; the map in use may go meanwhile.
func (d *Daemon) verifyTree(i *nodeapi.Image) error {
	t, err := mapTree(d.storeDir(), i.Tree, i.TreeSize)
	if err != nil {
		return err
	}
	return t.close()
}

func (d *Daemon) getEvents(w http.ResponseWriter, r *http.Request) {
	happened, leave := d.events.listen()
	defer leave()
	say := admin.SayLines[Event](w)
	_ = http.NewResponseController(w).Flush() // so that the client knows that it is heard
	for {
		select {
		case e := <-happened:
			say(e)
		case <-r.Context().Done():
			return
		case <-d.ctx.Done():
			return
		}
	}
}

// maxOrder bounds an order's body in bytes.
const maxOrder = 64 << 10

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	return admin.ReadJSON(w, r, "the order cannot be read", maxOrder, into)
}
