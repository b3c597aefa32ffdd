package origin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseContentRange(t *testing.T) {
	for in, want := range map[string]byteRange{
		"bytes 0-0/1":                    {0, 0, 1},
		"bytes 5-9/10":                   {5, 9, 10},
		"bytes 0-9/*":                    {0, 9, -1},
		"bytes 0-4194303/99999999999999": {0, 4194303, 99999999999999},
	} {
		got, ok := parseContentRange(in)
		if !ok || got != want {
			t.Errorf("%q: %v, %t; want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"", "bytes", "bytes 0-9", "bytes 0/10", "bytes */10", "bytes 9-5/10", "bytes 0-10/10", "bytes -1-5/10", "bytes 0-+5/10",
		"bytes=0-9/10", "items 0-9/10", "bytes 0-9/-1", "bytes 0-9223372036854775808/9223372036854775809", "bytes 0 - 9/10", "bytes 0-9/10/10",
	} {
		if got, ok := parseContentRange(in); ok {
			t.Errorf("%q: %v, want a refusal", in, got)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes 0-9/*", "bytes */10", "bytes 18446744073709551615-0/1", "bytes --/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseContentRange(s)
		if !ok {
			return
		}
		if r.first < 0 || r.last < r.first || r.total != -1 && r.last >= r.total {
			t.Errorf("%q gave %v", s, r)
		}
		total := "*"
		if r.total >= 0 {
			total = fmt.Sprint(r.total)
		}
		if again, ok := parseContentRange(fmt.Sprintf("bytes %d-%d/%s", r.first, r.last, total)); !ok || again != r {
			t.Errorf("%v does not survive its own spelling: %v", r, again)
		}
	})
}

func TestPickChallenge(t *testing.T) {
	tests := []struct {
		values []string
		want   challenge
	}{
		{[]string{`Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push"`},
			challenge{"bearer", "https://auth.example/token", "registry", "repository:a/b:pull,push"}},
		{[]string{`Basic realm="x"`, `bearer realm="https://a/t"`}, challenge{scheme: "bearer", realm: "https://a/t"}},
		{[]string{`Negotiate, Basic realm="a \"b\", c"`}, challenge{scheme: "basic", realm: `a "b", c`}},
		{[]string{`Basic`}, challenge{scheme: "basic"}},
		{[]string{`Bearer realm=https://a/t,service=s`}, challenge{scheme: "bearer", realm: "https://a/t", service: "s"}},
		{[]string{`BEARER Realm = "https://a/t" , unknown="x", Service="s"`}, challenge{scheme: "bearer", realm: "https://a/t", service: "s"}},
	}
	for _, tt := range tests {
		got, ok := pickChallenge(tt.values)
		if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(challenge{})); !ok || d != "" {
			t.Errorf("%q: %t (-want +got):\n%s", tt.values, ok, d)
		}
	}
	for _, values := range [][]string{nil, {""}, {"Negotiate"}, {"Bearer"}, {`Bearer realm=`}, {`Bearer realm="open`}, {`"`}, {"=,=,="}} {
		if got, ok := pickChallenge(values); ok {
			t.Errorf("%q: %v, want nothing", values, got)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://a/t",service="s",scope="x"`, `Basic realm="a\"b"`, `Negotiate abc==, Basic`, `Bearer realm="`, `a=b, c d=e`, `\`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list := parseChallenges(s)
		if len(list) > maxChallenges {
			t.Errorf("%d challenges", len(list))
		}
		for _, c := range list {
			if c.scheme != strings.ToLower(c.scheme) || len(c.realm)+len(c.service)+len(c.scope) > len(s) {
				t.Errorf("%q gave %+v", s, c)
			}
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(`{"errors":[{"code":"DENIED","message":"a\nb"}]}`))
	f.Add([]byte(`{"errors":[]}`))
	f.Add([]byte("<html>\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		code, message := parseErrorBody(body)
		for _, s := range []string{code, message} {
			if len(s) > maxText+len("…") || strings.ContainsAny(s, "\r\n\x00\x1b") {
				t.Errorf("%q is not one bounded line", s)
			}
		}
	})
}
