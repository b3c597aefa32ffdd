package admin

import (
	"encoding/json"
	"net/http"
)

// ReadJSON reads a request's body of at most so many bytes, in which every field
// must be known. If it cannot be read, the client is told why and ReadJSON is
// false.
func ReadJSON(w http.ResponseWriter, r *http.Request, refusal string, most int64, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, refusal+": "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// SayLines answers with lines of JSON, each sent at once; [Lines] reads them.
func SayLines[E any](w http.ResponseWriter) func(E) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	encoder := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	return func(e E) {
		_ = encoder.Encode(e) // a client that left ends the context
		_ = flush.Flush()
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(v) // the client is gone
}
