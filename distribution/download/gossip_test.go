package download

import (
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func TestMergeKeepsAllWithinBounds(t *testing.T) {
	var list []*distribution.Progress
	for i := range 3 * distribution.MaxAlso {
		p := &distribution.Progress{Object: chunk.SumBytes([]byte{byte(i), byte(i >> 8)})}
		for b := range 1 + i%40 {
			p.Got = append(p.Got, distribution.Span{First: uint32(2 * b), N: 1})
		}
		list = append(list, p)
	}
	full := &distribution.Progress{Got: make([]distribution.Span, distribution.MaxSpans)}
	for i := range full.Got {
		full.Got[i] = distribution.Span{First: uint32(2 * i), N: 1}
	}
	list = append(list, full)
	merged := merge(list)
	var told []*distribution.Progress
	for _, m := range merged {
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		for p := range m.Each {
			told = append(told, p)
		}
	}
	if len(told) != len(list) {
		t.Fatalf("%d of %d were told", len(told), len(list))
	}
	for i, p := range told {
		if p.Object != list[i].Object || p.Spans() != list[i].Spans() || len(list[i].Also) > 0 {
			t.Errorf("number %d is not what was to be told", i)
		}
	}
	if len(merged) > 8 {
		t.Errorf("%d messages", len(merged))
	}
}
