package registryproxy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/shoal-project/shoal/distribution"
)

// The error codes of the distribution spec, and docker's for an outage.
const (
	codeBlobUnknown     = "BLOB_UNKNOWN"
	codeDenied          = "DENIED"
	codeDigestInvalid   = "DIGEST_INVALID"
	codeManifestUnknown = "MANIFEST_UNKNOWN"
	codeNameInvalid     = "NAME_INVALID"
	codeNameUnknown     = "NAME_UNKNOWN"
	codeRangeInvalid    = "RANGE_INVALID"
	codeTagInvalid      = "TAG_INVALID"
	codeTooMany         = "TOOMANYREQUESTS"
	codeUnauthorized    = "UNAUTHORIZED"
	codeUnavailable     = "UNAVAILABLE"
	codeUnknown         = "UNKNOWN"
	codeUnsupported     = "UNSUPPORTED"
)

const pushHint = "this registry only serves pulls: push to the origin itself"

// problem is an answer with an error body.
type problem struct {
	status  int
	code    string
	message string
}

type errorBody struct {
	Errors []errorEntry `json:"errors"`
}

type errorEntry struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (p *problem) body() []byte {
	// Two strings always marshal.
	data, _ := json.Marshal(errorBody{[]errorEntry{{p.code, p.message}}})
	return append(data, '\n')
}

// isErrorBody tells whether an origin's body is one that clients understand.
func isErrorBody(data []byte) bool {
	var b errorBody
	return json.Unmarshal(data, &b) == nil && len(b.Errors) > 0 && b.Errors[0].Code != ""
}

// problemOf says in the spec's words what an origin's status means.
func problemOf(status int, t route) *problem {
	p := &problem{status: status, code: codeUnknown, message: "the origin answered " + http.StatusText(status)}
	switch status {
	case http.StatusUnauthorized:
		p.code, p.message = codeUnauthorized, "the origin wants other credentials: log in"
	case http.StatusForbidden:
		p.code, p.message = codeDenied, "the origin denies access to this repository"
	case http.StatusTooManyRequests:
		p.code, p.message = codeTooMany, "the origin limits requests: try again later, or log in"
	case http.StatusNotFound:
		p.code, p.message = unknownCode(t), "the origin does not have it"
	case http.StatusRequestedRangeNotSatisfiable:
		p.code, p.message = codeRangeInvalid, "the range lies outside the blob"
	case http.StatusMethodNotAllowed:
		p.code = codeUnsupported
	}
	return p
}

func unknownCode(t route) string {
	switch t.kind {
	case kindManifest:
		return codeManifestUnknown
	case kindBlob:
		return codeBlobUnknown
	default:
		return codeNameUnknown
	}
}

// refusalIn finds a refusal in an error of the origin package: of the caller's
// credentials, or to go where it was asked.
func refusalIn(err error) (*problem, bool) {
	var refusal *distribution.OriginError
	if !errors.As(err, &refusal) {
		return nil, false
	}
	p := &problem{refusal.Status, refusal.Code, trim(refusal.Message)}
	switch {
	case refusal.Status == http.StatusUnauthorized:
		p.code = codeUnauthorized
	case refusal.Status == http.StatusForbidden, refusal.Code == codeDenied:
		p.status, p.code = http.StatusForbidden, codeDenied
	case refusal.Code == codeNameInvalid:
		p.status = http.StatusBadRequest
	default:
		return nil, false
	}
	return p, true
}

// reason is what an error of the origin package says for users.
func reason(err error) string {
	var refusal *distribution.OriginError
	switch {
	case errors.As(err, &refusal):
		return trim(refusal.Message)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errStalled):
		return "no answer in time"
	default:
		return trim(err.Error())
	}
}

// trim bounds what others wrote to a line.
func trim(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
