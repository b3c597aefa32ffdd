package report

import (
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values Spread
		want   string
	}{
		{nil, "-"},
		{Spread{1}, "1.00"},
		{Spread{3, 1, 2}, "1.00/2.00/3.00"},
		{Spread{4, 1, 2, 3}, "1.00/2.50/4.00"},
		{Spread{1.001, 1.002, 0.999}, "1.00"},
	} {
		if got := c.values.Format(2); got != c.want {
			t.Errorf("%v: got %s, want %s", []float64(c.values), got, c.want)
		}
	}
}

func TestFormatLeavesTheMeasurementsInOrder(t *testing.T) {
	s := Spread{3, 1, 2}
	s.Format(0)
	if s[0] != 3 || s[1] != 1 {
		t.Errorf("now %v", s)
	}
}

func TestTableIsMarkdown(t *testing.T) {
	table := Table{Title: "A", Header: []string{"x", "y"}}
	table.Add("1", "a|b")
	var out strings.Builder
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "\n### A\n\n| x | y |\n|---|---|\n| 1 | a\\|b |\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestFactsHaveNoEmptyField(t *testing.T) {
	line := Gather(t.Context(), "registry 1.0").Line()
	if strings.Contains(line, "unknown;") || strings.Contains(line, " 0 cores") || !strings.Contains(line, "registry 1.0") {
		t.Error(line)
	}
}
