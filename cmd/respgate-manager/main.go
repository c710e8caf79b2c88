// Command respgate-manager is the reference manager: it tells proxies which groups and sentinels a cluster has. See docs/MANAGER.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is stamped by the Makefile.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], hangups, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
