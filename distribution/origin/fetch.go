package origin

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// downRest is how long a registry that could not be reached with patience gets
// one try a request only, so that callers with another way out take it at once.
const downRest = 5 * time.Second

// hurry is the longest pause that somebody who waits for an answer is kept in.
const hurry = 5 * time.Second

// patience counts the failures in a row of one piece of work.
type patience struct {
	tries int
	since time.Time // the first of them
}

// fetch asks the endpoints in turn and the registry itself with patience. It
// returns an answer that passed check; or, if check is nil, whatever the
// registry answered in the end. Every error is an OriginError.
func (c *Client) fetch(ctx context.Context, q *call, p *patience, check func(*answer) error) (*answer, error) {
	for _, ep := range q.mirrors() {
		if a := c.tryMirror(ctx, q, ep, check); a != nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, unreachable(q.reg.name, context.Cause(ctx))
		}
	}
	a, err := c.insist(ctx, q, p, check)
	if err != nil {
		return nil, unreachable(q.reg.name, err)
	}
	return a, nil
}

// mirrors are the ones to try for a call: all that are not resting, or for a
// blob under way the one that serves it.
func (q *call) mirrors() []*endpoint {
	list := q.reg.endpoints[:len(q.reg.endpoints)-1]
	if q.blob != nil {
		if ep := q.blob.endpoint(); ep != nil {
			list = list[:0:0]
			if ep.mirror {
				list = []*endpoint{ep}
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(list), (*endpoint).resting)
}

// tryMirror asks a mirror once. Whatever is wrong with it, the next one is
// asked: a mirror must not make anything slower or fail.
func (c *Client) tryMirror(ctx context.Context, q *call, ep *endpoint, check func(*answer) error) *answer {
	a, err := c.send(ctx, q, ep, q.location(ep))
	if err == nil {
		if a.resp.StatusCode >= 400 && a.resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			err = refusal(a)
		} else if check != nil {
			err = check(a)
		}
	}
	if err == nil {
		return a
	}
	if a != nil {
		a.Close()
	}
	if ctx.Err() != nil {
		return nil
	}
	q.forget(ep)
	c.metrics.retries.WithLabelValues("mirror").Inc()
	level := slog.LevelDebug
	var answered *distribution.OriginError
	if !errors.As(err, &answered) {
		ep.restFor(mirrorRest)
		level = slog.LevelInfo
	}
	c.log.Log(ctx, level, "mirror does not serve, asking the next",
		"registry", q.reg.name, "mirror", ep.base.Host, "repository", q.repository, "err", withoutURL(err))
	return nil
}

// insist asks the registry itself until it answers for good or patience ends.
func (c *Client) insist(ctx context.Context, q *call, p *patience, check func(*answer) error) (*answer, error) {
	ep := q.own()
	resolved := false
	for {
		a, err := c.send(ctx, q, ep, q.location(ep))
		switch {
		case err != nil && (hopeless(err) || ctx.Err() != nil):
			q.forget(ep)
			return nil, err
		case err == nil && a.final != nil && expired(a.resp.StatusCode) && !resolved:
			// A signed URL ends some time: ask the registry for a new one.
			a.Close()
			q.forget(ep)
			resolved = true
			c.metrics.retries.WithLabelValues("expired").Inc()
			continue
		case err == nil && !passing(a.resp.StatusCode):
			return settle(a, check)
		}
		wait, ok := c.patient(q, p, a, err)
		if !ok {
			if err != nil {
				ep.restFor(downRest)
			}
			return giveUp(a, err, check)
		}
		c.log.Debug("asking the registry again", "registry", q.reg.name, "repository", q.repository, "wait", wait, "tries", p.tries)
		if a != nil {
			a.Close()
		}
		q.forget(ep)
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// giveUp is the end of patience: the last refusal, or that nothing answers.
func giveUp(a *answer, err error, check func(*answer) error) (*answer, error) {
	if err == nil && check != nil {
		return nil, refusal(a)
	}
	return a, err
}

// settle makes of a lasting answer what fetch returns.
func settle(a *answer, check func(*answer) error) (*answer, error) {
	if check == nil {
		return a, nil
	}
	if a.resp.StatusCode >= 400 && a.resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return nil, refusal(a)
	}
	if err := check(a); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// patient tells how long to wait before the next try, and whether there is one.
// A Retry-After holds for all requests to the registry.
func (c *Client) patient(q *call, p *patience, a *answer, err error) (time.Duration, bool) {
	reason := "network"
	if errors.Is(err, errStalled) {
		reason = "stall"
	}
	wait := c.backoff(p.tries)
	if err == nil {
		reason = "status"
		after, told := retryAfter(a.resp.Header)
		if told || a.resp.StatusCode == http.StatusTooManyRequests {
			reason = "throttled"
			c.metrics.throttled.Inc()
		}
		if after > c.cfg.RetryAfterLimit {
			return 0, false
		}
		if q.hurried && after > hurry {
			q.reg.pause(after)
			return 0, false
		}
		if told && a.final == nil {
			q.reg.pause(after)
		}
		wait = max(wait, after)
	}
	if !p.more(c.cfg) || err != nil && q.own().resting() {
		return 0, false
	}
	c.metrics.retries.WithLabelValues(reason).Inc()
	return wait, true
}

// more counts a failure and tells whether there may be another try. Time-outs
// use patience up sooner than refusals: two of them are enough.
func (p *patience) more(cfg Config) bool {
	if p.tries == 0 {
		p.since = time.Now()
	}
	p.tries++
	return p.tries <= cfg.Retries && time.Since(p.since) < 2*cfg.Timeout
}

// own is the registry itself, after all its mirrors.
func (q *call) own() *endpoint { return q.reg.endpoints[len(q.reg.endpoints)-1] }

// backoff is the pause after the given number of failures.
func (c *Client) backoff(failures int) time.Duration {
	d := c.cfg.BackoffLimit
	if failures < 16 {
		d = min(d, c.cfg.Backoff<<failures)
	}
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2)
}

// retryAfter reads both forms of the header.
func retryAfter(h http.Header) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if v == "" {
		return 0, false
	}
	if n, err := strconv.Atoi(v); err == nil && n >= 0 {
		return time.Duration(min(n, 24*3600)) * time.Second, true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return max(0, time.Until(at)), true
}

// passing tells the statuses that may be gone in a moment.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// expired tells how storage services refuse a signed URL that is out of date.
func expired(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

func (q *call) location(ep *endpoint) *url.URL {
	if q.blob == nil {
		return nil
	}
	return q.blob.locationAt(ep)
}

func (q *call) forget(ep *endpoint) {
	if q.blob != nil {
		q.blob.forget(ep)
	}
}
