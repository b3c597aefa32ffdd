// Package layering holds no code: its test asserts that dependencies between the
// module's packages point down the layers of docs/ARCHITECTURE.md.
package layering
