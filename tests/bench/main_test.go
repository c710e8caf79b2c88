package main

import (
	"testing"

	"respgate/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
