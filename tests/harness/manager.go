package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// Cluster is what a manager says of one.
type Cluster struct {
	Version   uint64
	Groups    []string
	Sentinels []string
}

// Manager is a running bin/respgate-manager over a file.
type Manager struct {
	*Process
	Addr string
	File string
	t    testing.TB
}

// StartManager starts the reference manager with the clusters and waits until it answers.
func StartManager(t testing.TB, clusters map[string]Cluster) *Manager {
	t.Helper()
	m := &Manager{Addr: Address(t), File: filepath.Join(t.TempDir(), "manager.yml"), t: t}
	m.Write(clusters)
	m.Process = start(t, "respgate-manager", Program(t, "respgate-manager"), "-c", m.File)
	m.waitUp()
	return m
}

func (m *Manager) waitUp() {
	m.t.Helper()
	Eventually(m.t, Patience, "the manager answers", func() error {
		if m.Exited() {
			return errors.New("it has exited: " + m.log.tail(20))
		}
		r, err := Ask(m.Addr, "PING")
		if err != nil {
			return err
		}
		return r.Err()
	})
}

// Restart runs a killed manager again.
func (m *Manager) Restart() {
	m.t.Helper()
	if err := m.restart(); err != nil {
		m.t.Fatal(err)
	}
	m.waitUp()
}

// Write replaces the manager's file, as an operator would.
func (m *Manager) Write(clusters map[string]Cluster) {
	m.t.Helper()
	names := make([]string, 0, len(clusters))
	for n := range clusters {
		names = append(names, n)
	}
	sort.Strings(names)
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %q\nclusters:\n", m.Addr)
	for _, n := range names {
		c := clusters[n]
		fmt.Fprintf(&b, "  %s:\n    version: %d\n    groups: %s\n    sentinels: %s\n", n, c.Version, list(c.Groups), list(c.Sentinels))
	}
	tmp := m.File + ".new"
	if err := os.WriteFile(tmp, []byte(b.String()), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(tmp, m.File); err != nil {
		m.t.Fatal(err)
	}
}
