package coordinator

import "time"

// pace bounds how many units the supernode has granted from its own upload and
// not seen arrive: about as many as its link moves in a moment. More would only
// queue there, and delay whoever waits for the first of them.
type pace struct {
	out   int     // units outstanding
	rate  float64 // units a second, smoothed
	done  int     // since mark
	mark  time.Time
	limit int
}

const (
	minPace = 8
	maxPace = 256
	// maxMember of them may be one member's, which fetches all that it is granted
	// at once: more would cost it memory and bring nothing sooner.
	maxMember = 32
	// paceSeconds of upload may be outstanding.
	paceSeconds = 0.3
	paceWindow  = 200 * time.Millisecond
)

func newPace() pace { return pace{limit: minPace} }

// arrived books a unit that came through; counted tells whether it was among
// those outstanding.
func (p *pace) arrived(counted bool, now time.Time) {
	if counted {
		p.lost()
	}
	if p.mark.IsZero() {
		p.mark = now
	}
	p.done++
	if took := now.Sub(p.mark); took >= paceWindow {
		rate := float64(p.done) / took.Seconds()
		if p.rate == 0 || rate > p.rate {
			p.rate = rate
		}
		p.rate += (rate - p.rate) / 4
		p.done, p.mark = 0, now
		p.limit = min(maxPace, max(minPace, int(p.rate*paceSeconds)))
	}
}

// lost books a unit that will not come.
func (p *pace) lost() { p.out = max(0, p.out-1) }

func (p *pace) room() bool { return p.out < p.limit }
