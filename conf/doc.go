// Package conf reads the file that respgate starts from and is reloaded from.
//
//	file -> yaml.Node -> map of typed values -> Config -> rules across keys
//	        node.go      value.go, section.go   config.go  validate.go, listener.go
//
// The key tables (key.go, pool_key.go) name every key once: its type, its default, what a reload does with it and the sentence
// that docs/CONFIGURATION.md prints. Reading, defaults, Diff and the reference all follow the tables.
//
// A Config is complete and valid, or there is none: Load reports every mistake at once, each with file, line, column and key,
// and never the value of a secret. A Config is not written to after Load returned it; any goroutine may read it.
//
// Watch tells when the file may have changed. It does not load: whoever owns the running configuration calls Load, compares with
// Diff and decides.
package conf

//go:generate go test -run TestReference -update
