// Package differential holds no code: its tests send the same generated commands to a plain redis-server and through
// respgate, and compare the replies byte by byte. What may differ is in one table, with the reasons (rules_test.go).
//
//	grammar (COMMAND DOCS) ──> generator ──> sequence ──┬──> plain redis-server ──┬──> compare ──> shrink ──> redis-cli lines
//	                            seed                    └──> respgate ──> 1 or 3 ─┘    rules
//
// A sequence follows from its seed, and its replies from the sequence: both sides begin it empty. Every failure prints
// the seed that repeats it.
package differential
