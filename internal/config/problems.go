package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Problems is every fault of a configuration, one a line.
type Problems []error

func (p Problems) Error() string {
	if len(p) == 1 {
		return "configuration: " + p[0].Error()
	}
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = "  " + problem.Error()
	}
	return fmt.Sprintf("configuration has %d problems:\n%s", len(p), strings.Join(lines, "\n"))
}

// Unwrap gives the single problems.
func (p Problems) Unwrap() []error { return p }

func describe(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	sort.SliceStable(problems, func(i, j int) bool { return problems[i].Error() < problems[j].Error() })
	return Problems(problems)
}

// flatten opens joined errors, however deep.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return []error{err}
	}
	var all []error
	for _, e := range many.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// Under puts a section's name before each of its problems, whose texts begin
// with the key inside the section, or already with the section.
func Under(section string, err error) error {
	problems := flatten(err)
	for i, problem := range problems {
		if !strings.HasPrefix(problem.Error(), section+".") {
			problems[i] = fmt.Errorf("%s.%w", section, problem)
		}
	}
	return errors.Join(problems...)
}
