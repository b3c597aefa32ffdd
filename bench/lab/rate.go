//go:build linux

package lab

import (
	"fmt"
	"strconv"
	"strings"
)

// Rate is the speed of a link in bits per second. Zero means unshaped.
type Rate int64

const (
	Kbit Rate = 1000
	Mbit      = 1000 * Kbit
	Gbit      = 1000 * Mbit
)

// ParseRate reads "200mbit", "1gbit", "64kbit" or "none".
func ParseRate(text string) (Rate, error) {
	if text == "none" {
		return 0, nil
	}
	for _, unit := range []struct {
		suffix string
		size   Rate
	}{{"kbit", Kbit}, {"mbit", Mbit}, {"gbit", Gbit}} {
		digits, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 24)
		if err != nil || n == 0 {
			break
		}
		return Rate(n) * unit.size, nil
	}
	return 0, fmt.Errorf("rate %q: want a whole number of kbit, mbit or gbit (such as 200mbit), or none", text)
}

// String is the form that [ParseRate] reads.
func (r Rate) String() string {
	switch {
	case r == 0:
		return "none"
	case r%Gbit == 0:
		return fmt.Sprintf("%dgbit", r/Gbit)
	case r%Mbit == 0:
		return fmt.Sprintf("%dmbit", r/Mbit)
	}
	return fmt.Sprintf("%dkbit", r/Kbit)
}

// BytesPerSecond is the rate in the unit of transfers.
func (r Rate) BytesPerSecond() float64 { return float64(r) / 8 }

// MarshalText and UnmarshalText let a rate be a flag and a JSON field.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is [ParseRate].
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
