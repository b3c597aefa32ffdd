package distribution

import "time"

// Forgiven moves a past time on by a gap in which this process, or its machine,
// stood still, but not beyond now: that nothing was heard meanwhile says nothing
// about anybody.
func Forgiven(past time.Time, gap time.Duration, now time.Time) time.Time {
	if later := past.Add(gap); later.Before(now) {
		return later
	}
	return now
}
