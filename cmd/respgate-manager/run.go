package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"respgate/internal/manager"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the program without its process: it ends when ctx does, or at the first fatal error.
func run(ctx context.Context, args []string, hangups <-chan os.Signal, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("respgate-manager", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("c", "manager.yml", "the manager's `file`")
	check := flags.Bool("t", false, "check the file and exit")
	showVersion := flags.Bool("version", false, "print the version and exit")
	var level slog.Level
	flags.TextVar(&level, "loglevel", slog.LevelInfo, "debug, info, warn or error")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		return exitUsage
	}
	switch {
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "respgate-manager: unexpected argument %q\n", flags.Arg(0))
		return exitUsage
	case *showVersion:
		fmt.Fprintln(stdout, "respgate-manager", version)
		return exitOK
	case *check:
		if _, err := manager.ReadFile(*path); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		fmt.Fprintf(stdout, "%s: ok\n", *path)
		return exitOK
	}
	if err := serve(ctx, *path, hangups, newLogger(stderr, level)); err != nil {
		fmt.Fprintf(stderr, "respgate-manager: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// serve runs the server and the watch of its file until ctx ends.
func serve(ctx context.Context, path string, hangups <-chan os.Signal, log *slog.Logger) error {
	store, err := manager.Open(path, log)
	if err != nil {
		return err
	}
	l, err := manager.Listen(store.Listen())
	if err != nil {
		return err
	}
	log.Info("manager is up", slog.String("version", version), slog.String("listen", l.Addr().String()), slog.String("file", path),
		slog.Int("clusters", len(store.Clusters())))
	if store.Password() == "" && !loopback(l.Addr()) {
		log.Warn("without a password everybody who reaches this port can change the clusters", slog.String("listen", l.Addr().String()))
	}
	ctx, cancel := context.WithCancel(ctx)
	reload := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { store.Watch(ctx, reload) })
	watching.Go(func() { forward(ctx, hangups, reload) })
	err = manager.NewServer(store, version, log).Serve(ctx, l)
	cancel()
	watching.Wait()
	log.Info("manager is down")
	return err
}

// forward makes every SIGHUP a reload.
func forward(ctx context.Context, hangups <-chan os.Signal, reload chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		select {
		case <-ctx.Done():
			return
		case reload <- struct{}{}:
		}
	}
}

func loopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().IsLoopback()
}

// newLogger colours on a terminal, and writes JSON anywhere else.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "2006-01-02T15:04:05.000Z07:00", NoColor: noColor()}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

func noColor() bool { return os.Getenv("NO_COLOR") != "" }
