package registryproxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Bounds of what is remembered.
const (
	maxGrants    = 1 << 14
	maxConfirmed = 1 << 15
)

// credential stands for an Authorization header. It is keyed by a random secret
// of this process, so that it is worth nothing elsewhere.
type credential [16]byte

type grant struct {
	repo repo
	who  credential
}

type member struct {
	repo   repo
	digest chunk.Digest
}

// access decides who may read what. It asks two things of the origin and
// remembers the answers apart: does it accept this caller for this repository
// (for a short time), and does this object lie in this repository (for as long
// as there is room, as an object does not move).
type access struct {
	up        upstream
	state     *state
	now       func() time.Time
	fresh     time.Duration // Config.AuthCache
	stale     time.Duration // Config.StaleAuth
	staleWait time.Duration
	secret    []byte
	grants    *lru[grant, time.Time] // when the origin last said yes
	confirmed *lru[member, struct{}]
	resting   *lru[string, time.Time] // registries that failed, and when
	asking    *flights[reply]
	metrics   *Metrics
}

// question is a caller's wish for one object of a repository.
type question struct {
	route         route // with a digest
	authorization string
	accept        []string
	staleFor      time.Duration
}

// reply is an answer, and which object it was about.
type reply struct {
	answer
	digest chunk.Digest
}

func newSecret() []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return secret
}

func (a *access) credential(authorization string) (c credential) {
	if authorization == "" {
		return c
	}
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(authorization))
	copy(c[:], mac.Sum(nil))
	return c
}

// check judges a caller's wish, asking the origin if it must.
func (a *access) check(ctx context.Context, q question) (verdict, answer) {
	v, ans := a.judge(ctx, q)
	a.metrics.checks.WithLabelValues(checkOutcome(v, ans)).Inc()
	return v, ans
}

func (a *access) judge(ctx context.Context, q question) (verdict, answer) {
	who, known := a.credential(q.authorization), a.isMember(q.route.repo, q.route.digest)
	if known && a.accepted(q.route.repo, who, a.fresh) {
		return allowed, answer{}
	}
	spare := known && a.acceptedStale(q, who)
	if spare && a.isResting(q.route.repo.registry) {
		return stale, answer{err: errResting}
	}
	r := asked(ctx, a.patience(spare), func(ctx context.Context) reply { return a.ask(ctx, q, who, known) })
	a.learn(q, who, r.answer)
	if r.failing() && spare {
		a.rest(ctx, q.route.repo.registry)
		return stale, r.answer
	}
	return r.verdict(), r.answer
}

// ask shares one HEAD among concurrent callers with the same credential. When
// all that is in doubt is the caller, any object of the repository will do.
func (a *access) ask(ctx context.Context, q question, who credential, known bool) reply {
	key := q.route.repo.String() + " " + string(who[:])
	if known {
		r := a.askFor(ctx, key, q)
		if r.digest == q.route.digest || r.verdict() != unclear {
			return r
		}
	}
	return a.askFor(ctx, key+q.route.reference, q)
}

func (a *access) askFor(ctx context.Context, key string, q question) reply {
	r, err := a.asking.do(ctx, key, func(ctx context.Context) reply {
		return reply{a.up.head(ctx, q.request()), q.route.digest}
	})
	if err != nil {
		return reply{answer{err: err}, q.route.digest}
	}
	return r
}

func (q question) request() distribution.Request {
	h := http.Header{}
	if q.route.kind == kindManifest {
		h["Accept"] = acceptOrAll(q.accept)
	}
	return distribution.Request{
		Method: http.MethodHead, Registry: q.route.repo.registry, Repository: q.route.repo.name,
		Path: q.route.path(), Header: h, Authorization: q.authorization,
	}
}

// learn remembers what an answer about an object says.
func (a *access) learn(q question, who credential, ans answer) {
	switch ans.verdict() {
	case allowed:
		a.accept(q.route.repo, who)
		a.confirm(q.route.repo, q.route.digest)
	case refused:
		if ans.denies() {
			a.refuse(q.route.repo, who)
		}
	case unclear:
		if ans.status == http.StatusNotFound {
			a.confirmed.remove(member{q.route.repo, q.route.digest})
		}
	}
}

// accept records that the origin said yes just now.
func (a *access) accept(r repo, who credential) {
	now := a.now()
	a.grants.put(grant{r, who}, now)
	if who == (credential{}) {
		a.state.setPublic(r, now)
	}
}

func (a *access) refuse(r repo, who credential) {
	a.grants.remove(grant{r, who})
	if who == (credential{}) {
		a.state.removePublic(r)
	}
}

// confirm records that an object lies in a repository.
func (a *access) confirm(r repo, d chunk.Digest) {
	if !d.IsZero() {
		a.confirmed.put(member{r, d}, struct{}{})
	}
}

func (a *access) isMember(r repo, d chunk.Digest) bool {
	if _, ok := a.confirmed.get(member{r, d}); ok {
		return true
	}
	_, ok := a.state.manifest(r, d)
	return ok
}

// accepted tells whether the origin said yes within d to this caller, or to one
// without credentials.
func (a *access) accepted(r repo, who credential, d time.Duration) bool {
	now := a.now()
	for _, c := range []credential{who, {}} {
		if at, ok := a.grants.get(grant{r, c}); ok && within(now, at, d) {
			return true
		}
	}
	return false
}

// acceptedStale is accepted for when the origin is silent. What was public
// stays so for as long as it may be stale, over a restart as well.
func (a *access) acceptedStale(q question, who credential) bool {
	if q.staleFor <= 0 {
		return false
	}
	at, ok := a.state.public(q.route.repo)
	return ok && within(a.now(), at, q.staleFor) || a.accepted(q.route.repo, who, a.stale)
}

// within tells whether at lies at most d back. A time in the future, after a
// clock was set, does not count.
func within(now, at time.Time, d time.Duration) bool {
	age := now.Sub(at)
	return age >= 0 && age < d
}

// acceptOrAll asks for any type when the caller does not say.
func acceptOrAll(accept []string) []string {
	if len(accept) == 0 {
		return []string{"*/*"}
	}
	return accept
}
