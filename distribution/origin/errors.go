package origin

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/shoal-project/shoal/distribution"
)

// ErrNoSize says that a registry sends a blob without telling its size. Such a
// blob cannot be cut into chunks: the registry proxy passes it through uncached.
var ErrNoSize = errors.New("registry does not tell the size")

// errStalled is the cause when a registry sent nothing for Config.Timeout.
var errStalled = errors.New("no byte came in time")

const (
	maxErrorBody = 64 << 10
	maxText      = 300
)

// refusal is the error in a response's status and body. It closes the answer.
func refusal(a *answer) *distribution.OriginError {
	defer a.Close()
	e := &distribution.OriginError{Status: a.resp.StatusCode}
	if e.Status == http.StatusUnauthorized {
		e.Challenge = challengeHeaders(a.resp.Header)
	}
	body, _ := io.ReadAll(io.LimitReader(a, maxErrorBody))
	e.Code, e.Message = parseErrorBody(body)
	if e.Message == "" {
		e.Message = strings.ToLower(http.StatusText(e.Status))
	}
	return e
}

// parseErrorBody reads the first error of an OCI error body.
func parseErrorBody(body []byte) (code, message string) {
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &doc) != nil || len(doc.Errors) == 0 {
		return "", ""
	}
	return oneLine(doc.Errors[0].Code), oneLine(doc.Errors[0].Message)
}

// oneLine bounds a text from outside and takes its control characters away.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// lie is the error for an answer that contradicts the question or itself.
func lie(format string, args ...any) error {
	return &distribution.OriginError{Message: oneLine("the answer is not what was asked for: " + fmt.Sprintf(format, args...))}
}

// unreachable turns a failure without an answer into an OriginError that says
// what to do where the user can do something.
func unreachable(registry string, err error) error {
	var done *distribution.OriginError
	if errors.As(err, &done) {
		return err
	}
	refusal := &distribution.OriginError{Message: oneLine(withoutURL(err) + hint(registry, err)), Err: err}
	if private := (*privateError)(nil); errors.As(err, &private) {
		refusal.Code = "DENIED" // by this node's rule, not for want of an answer
	}
	return refusal
}

// withoutURL drops what could be a signed URL from an error's text.
func withoutURL(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err.Error()
	}
	return err.Error()
}

func hint(registry string, err error) string {
	var (
		private *privateError
		record  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &private):
		return fmt.Sprintf(" (if that is wanted, configure origin.registries name: %s, or list %s in origin.allow_private)", registry, private.host)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Sprintf(" (configure origin.registries name: %s plain_http: true)", registry)
	case errors.As(err, &unknown):
		return fmt.Sprintf(" (configure origin.registries name: %s ca_file: /path/to/ca.pem)", registry)
	}
	return ""
}

// hopeless tells the failures that trying again cannot mend.
func hopeless(err error) bool {
	var (
		private *privateError
		refused *distribution.OriginError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	if errors.As(err, &refused) {
		return !passing(refused.Status)
	}
	return errors.As(err, &private) || errors.As(err, &cert) || errors.As(err, &record) ||
		notFound(err) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// tokenRefused tells that a token server turned the credentials down: then the
// registry's own 401 is the answer, whose challenge the caller may meet.
func tokenRefused(err error) bool {
	var e *distribution.OriginError
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500 && !passing(e.Status)
}
