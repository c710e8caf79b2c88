// Command gen writes the command table of package command.
//
//	go generate ./engine/command                                  rewrite table_gen.go from the data files and the policy
//	go run ./engine/command/internal/gen -capture 127.0.0.1:6379  rewrite commands.json from a running server
//
// commands.json holds what a Redis 7.0 server says of its own commands (COMMAND and COMMAND DOCS, condensed; LICENSE.redis has its notice).
// additions.json holds rows for later commands, written from their documentation. policy.go says what the proxy does with each.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("dir", ".", "directory of package command")
	capture := flag.String("capture", "", "rewrite commands.json from the server at this `host:port`")
	flag.Parse()
	if err := run(*dir, *capture); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir, server string) error {
	if server != "" {
		data, err := captureFrom(server)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, capturedFile), data, 0o644)
	}
	source, err := generate(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "table_gen.go"), source, 0o644)
}

// generate returns the text of table_gen.go for the data files in dir.
func generate(dir string) ([]byte, error) {
	rows, err := loadRows(dir)
	if err != nil {
		return nil, err
	}
	entries, err := decide(rows)
	if err != nil {
		return nil, err
	}
	return emit(entries)
}
