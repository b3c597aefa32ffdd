package exchange

import (
	"sync"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

const (
	nonceBucket = 10 * time.Second
	maxNonces   = 1 << 18 // about 10 MiB; 2,000 requests a second
)

// nonces remembers the proofs that were used, by the time that they state, for
// as long as that time is acceptable. When full it takes no more: a replay is
// never let through for want of memory.
type nonces struct {
	mu      sync.Mutex
	max     int
	count   int
	buckets map[int64]map[nonce]struct{}
}

func newNonces() *nonces {
	return &nonces{max: maxNonces, buckets: map[int64]map[nonce]struct{}{}}
}

// use records a nonce stated for time at, or tells that it was used before.
func (s *nonces) use(n nonce, at, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	i := at.Unix() / int64(nonceBucket/time.Second)
	if _, used := s.buckets[i][n]; used {
		return errReused
	}
	if s.count >= s.max {
		return &distribution.BusyError{RetryAfter: time.Second}
	}
	if s.buckets[i] == nil {
		s.buckets[i] = map[nonce]struct{}{}
	}
	s.buckets[i][n] = struct{}{}
	s.count++
	return nil
}

// expire forgets buckets whose whole time is too old to be accepted.
func (s *nonces) expire(now time.Time) {
	for i, bucket := range s.buckets {
		end := time.Unix((i+1)*int64(nonceBucket/time.Second), 0)
		if now.Sub(end) > maxSkew {
			s.count -= len(bucket)
			delete(s.buckets, i)
		}
	}
}
