// Package config is how a daemon learns its settings: defaults in code, then
// one YAML file, then the environment, then flags, each over the one before.
//
// It guarantees that a daemon starts only with settings that were all
// understood: an unknown key, a value of the wrong form and a value that makes
// no sense are refused, all of them at once, each with its key's path and what
// to do. Every key has one meaning, in [Meanings]; a test holds that table, the
// structs and docs/OPERATIONS.md together.
//
// It does not watch files: a daemon is restarted to take new settings.
//
// The environment variable of key a.b_c is SHOAL_A_B_C; SHOAL_A__B_C says the
// same with the level spelled out. Lists are separated by commas. Keys under a
// name of one's own choice (one registry's settings, say) are for the file only.
//
// Functions hold no state and may be called from anywhere.
package config
