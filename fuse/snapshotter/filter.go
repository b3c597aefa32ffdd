//go:build linux

package snapshotter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filter is one line of containerd's filter language: selectors with commas in
// between, all of which must match.
//
//	selectors := selector ("," selector)*
//	selector  := path [("==" | "!=" | "~=") value]
//	path      := field ("." field)*
//	field     := [A-Za-z0-9_]+ | quoted
//	value     := quoted | anything but commas and spaces
//	quoted    := Go's, with " around it; for ~= also / or |
type filter []selector

type selector struct {
	path     []string
	operator string // "": the field is there
	value    string
	pattern  *regexp.Regexp
}

// maxFilter bounds a filter's length in bytes.
const maxFilter = 64 << 10

// parseFilters reads what a list request carries: a snapshot must match one.
func parseFilters(texts []string) ([]filter, error) {
	var all []filter
	for _, text := range texts {
		f, err := parseFilter(text)
		if err != nil {
			return nil, fmt.Errorf("filter %.200q: %w: %w", text, err, errInvalid)
		}
		all = append(all, f)
	}
	return all, nil
}

func matchesAny(filters []filter, s *snapshot) bool {
	for _, f := range filters {
		if f.matches(s) {
			return true
		}
	}
	return len(filters) == 0
}

func (f filter) matches(s *snapshot) bool {
	for _, one := range f {
		if !one.matches(s) {
			return false
		}
	}
	return true
}

func (s selector) matches(of *snapshot) bool {
	value, there := of.field(s.path)
	switch s.operator {
	case "==":
		return there && value == s.value
	case "!=":
		return value != s.value
	case "~=":
		return s.pattern.MatchString(value)
	}
	return there
}

func parseFilter(text string) (filter, error) {
	if len(text) > maxFilter {
		return nil, fmt.Errorf("it is longer than %d bytes", maxFilter)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("it is not UTF-8")
	}
	if text == "" {
		return nil, nil // matches all
	}
	p := &parser{text}
	var f filter
	for {
		s, err := p.selector()
		if err != nil {
			return nil, err
		}
		f = append(f, s)
		p.space()
		if p.rest == "" {
			return f, nil
		}
		if !p.take(",") {
			return nil, fmt.Errorf("a comma is expected before %.20q", p.rest)
		}
	}
}

type parser struct {
	rest string
}

func (p *parser) space() {
	p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace)
}

func (p *parser) take(token string) bool {
	rest, found := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return found
}

func (p *parser) selector() (s selector, err error) {
	if s.path, err = p.path(); err != nil {
		return s, err
	}
	p.space()
	if p.rest == "" || p.rest[0] == ',' {
		return s, nil
	}
	for _, operator := range []string{"==", "!=", "~="} {
		if p.take(operator) {
			s.operator = operator
			break
		}
	}
	if s.operator == "" {
		return s, fmt.Errorf("==, != or ~= is expected before %.20q", p.rest)
	}
	if s.value, err = p.value(s.operator == "~="); err != nil {
		return s, err
	}
	if s.operator == "~=" {
		if s.pattern, err = regexp.Compile(s.value); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (p *parser) path() ([]string, error) {
	var path []string
	for {
		p.space()
		field, err := p.field()
		if err != nil {
			return nil, err
		}
		path = append(path, field)
		p.space()
		if !p.take(".") {
			return path, nil
		}
	}
}

func (p *parser) field() (string, error) {
	if strings.HasPrefix(p.rest, `"`) {
		return p.quoted('"')
	}
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	})
	if end < 0 {
		end = len(p.rest)
	}
	if end == 0 {
		return "", fmt.Errorf("a field is expected before %.20q", p.rest)
	}
	field := p.rest[:end]
	p.rest = p.rest[end:]
	return field, nil
}

func (p *parser) value(pattern bool) (string, error) {
	p.space()
	if p.rest == "" {
		return "", fmt.Errorf("a value is expected at the end")
	}
	if quote := p.rest[0]; quote == '"' || pattern && (quote == '/' || quote == '|') {
		return p.quoted(quote)
	}
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if end < 0 {
		end = len(p.rest)
	}
	if end == 0 {
		return "", fmt.Errorf("a value is expected before %.20q", p.rest)
	}
	value := p.rest[:end]
	p.rest = p.rest[end:]
	return value, nil
}

// quoted reads a Go string literal that stands in any quotes.
func (p *parser) quoted(quote byte) (string, error) {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case quote:
			literal := p.rest[1:i]
			p.rest = p.rest[i+1:]
			if quote != '"' {
				literal = requote(literal, quote)
			}
			return strconv.Unquote(`"` + literal + `"`)
		}
	}
	return "", fmt.Errorf("%.20q is not terminated", p.rest)
}

// requote makes what stood in other quotes stand in double ones.
func requote(literal string, quote byte) string {
	var b strings.Builder
	for i := 0; i < len(literal); i++ {
		switch c := literal[i]; {
		case c == '"':
			b.WriteString(`\"`)
		case c == '\\' && i+1 < len(literal):
			i++
			if literal[i] != quote {
				b.WriteByte('\\')
			}
			b.WriteByte(literal[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// join is what of a path names a label.
func join(path []string) string {
	return strings.Join(path, ".")
}
