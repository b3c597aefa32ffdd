package registryproxy

import (
	"path"
	"strings"
)

// repo is a repository at an origin, by canonical names.
type repo struct{ registry, name string }

func (r repo) String() string { return r.registry + "/" + r.name }

// matches tells whether a pattern of Config.Allow's kind fits the repository.
func (r repo) matches(pattern string) bool {
	if !strings.Contains(pattern, "/") {
		return matchParts([]string{pattern}, []string{r.registry})
	}
	return matchParts(strings.Split(pattern, "/"), strings.Split(r.String(), "/"))
}

// matchParts costs at most patterns × parts steps for each "**"; both are short.
func matchParts(pattern, parts []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(parts) + 1 {
				if matchParts(pattern[1:], parts[i:]) {
					return true
				}
			}
			return false
		}
		if len(parts) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], parts[0]); err != nil || !ok {
			return false
		}
		pattern, parts = pattern[1:], parts[1:]
	}
	return len(parts) == 0
}

// validPattern bounds "**" to two, which bounds the work of a match.
func validPattern(p string) bool {
	if p == "" || len(p) > 512 || strings.Count(p, "**") > 2 {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if _, err := path.Match(part, ""); err != nil || part == "" {
			return false
		}
	}
	return true
}

// permitted applies Config.Allow and Config.Deny.
func (c Config) permitted(r repo) bool {
	for _, p := range c.Deny {
		if r.matches(p) {
			return false
		}
	}
	for _, p := range c.Allow {
		if r.matches(p) {
			return true
		}
	}
	return len(c.Allow) == 0
}

// rule is the first that matches.
func (c Config) rule(r repo, tag string) TagRule {
	for _, rule := range c.Tags {
		if !r.matches(rule.Match) {
			continue
		}
		if ok, _ := path.Match(rule.Tag, tag); ok || rule.Tag == "" {
			return rule
		}
	}
	return TagRule{Match: "**", Policy: PolicyRevalidate}
}

// staleFor is how long anything of the repository may be served without the
// origin's word: the longest of the rules that fit it. An object asked for by
// digest has no tag to choose a rule by.
func (c Config) staleFor(r repo) (longest int64) {
	for _, rule := range c.Tags {
		if r.matches(rule.Match) {
			longest = max(longest, int64(rule.StaleIfError))
		}
	}
	return longest
}
