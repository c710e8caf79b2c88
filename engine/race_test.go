//go:build race

package engine

// raced says that the race detector is in: it makes a request cost ten times as much, so that tests of sheer numbers take fewer.
const raced = true
