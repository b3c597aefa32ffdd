package report

import (
	"fmt"
	"slices"
)

// Spread is a set of repeated measurements of one thing.
type Spread []float64

// Median is the middle value, or the mean of the two in the middle.
func (s Spread) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Format writes min/median/max with a number of decimals, or one figure when
// they look the same, or a dash when there is none.
func (s Spread) Format(decimals int) string {
	if len(s) == 0 {
		return "-"
	}
	low, middle, high := fixed(slices.Min(s), decimals), fixed(s.Median(), decimals), fixed(slices.Max(s), decimals)
	if low == high {
		return middle
	}
	return low + "/" + middle + "/" + high
}

func fixed(value float64, decimals int) string { return fmt.Sprintf("%.*f", decimals, value) }

// Collect makes a spread of one figure of every run.
func Collect[T any](runs []T, figure func(T) float64) Spread {
	spread := make(Spread, len(runs))
	for i, run := range runs {
		spread[i] = figure(run)
	}
	return spread
}
