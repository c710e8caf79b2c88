package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"respgate/admin"
	"respgate/conf"
	"respgate/engine"
	"respgate/internal/control"
	"respgate/internal/inventory"
	"respgate/internal/metrics"
	"respgate/managerclient"
	"respgate/sentinelclient"
)

// app wires the parts of a proxy together; it has no logic of its own.
type app struct {
	file    string
	log     *slog.Logger
	level   *slog.LevelVar
	plane   *engine.Engine
	ctl     atomic.Pointer[control.Controller]
	console *admin.Server
	metrics *metrics.Server
	stats   *metrics.TwemproxyStats
	ports   ports
	watcher *conf.Watcher
	ready   chan struct{} // closed when control is there: the ports answer from then on
	fatal   chan error    // a part that cannot go on
}

// serve runs the proxy until a signal ends it.
func serve(file string, stderr io.Writer) error {
	cf, err := conf.Load(file)
	if err != nil {
		return fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	a := &app{file: file, level: &slog.LevelVar{}, ready: make(chan struct{}), fatal: make(chan error, 1)}
	a.level.Set(cf.Log.Level)
	a.log = newLogger(stderr, cf.Log.Format, a.level)
	a.ports = ports{log: a.log, open: map[string]*port{}}
	for _, w := range cf.Warnings() {
		a.log.Warn("configuration", "warning", w)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := a.start(cf); err != nil {
		return err
	}
	return a.wait(signals)
}

// processors makes room for so many loops (0: one for each CPU), and for one goroutine of the control plane beside them:
// loops keep their processor while they wait for the next request.
func processors(loops int) int {
	most := runtime.GOMAXPROCS(0)
	if loops == 0 {
		loops = most
	}
	runtime.GOMAXPROCS(max(most, loops+1))
	return loops
}

// start brings up the data plane, then control on it, then the ports to look at them.
func (a *app) start(cf *conf.Config) (err error) {
	a.plane, err = engine.New(engine.Options{
		Loops: processors(cf.Loops), Version: buildVersion(), Trimmed: newReclaimer().trimmed,
		Observe: func(ev engine.Event) {
			if c := a.ctl.Load(); c != nil {
				c.Notice(ev)
			}
		},
		Fatal: func(err error) {
			select {
			case a.fatal <- err:
			default:
			}
		},
	})
	if err != nil {
		return err
	}
	var console console
	a.console = admin.New(adminConfig(cf), &console, &console, &console, a.log)
	a.metrics, a.stats = metrics.NewServer(&console, a.log), metrics.NewTwemproxyStats(&console, a.log)
	ctl, err := control.Start(control.Options{
		Plane: a.plane, Log: a.log, Version: buildVersion(), Commands: engine.Commands(), Level: a.level,
		Inventory: inventory.Ask,
		Publish:   a.console.Publish,
		Load:      func() (*conf.Config, error) { return conf.Load(a.file) },
		Prepare:   a.prepare,
		StartSentinels: func(cfg sentinelclient.Config, deliver func(*sentinelclient.View)) control.Sentinels {
			return sentinels{sentinelclient.Start(cfg, deliver, a.log)}
		},
		StartManager: func(cfg managerclient.Config, deliver func(managerclient.Topology)) control.Manager {
			return managerclient.Start(cfg, deliver, a.log)
		},
	}, cf)
	if err != nil {
		a.ports.close()
		_ = a.plane.Shutdown(context.Background())
		return err
	}
	console.Controller, console.level = ctl, a.level
	a.ctl.Store(ctl)
	close(a.ready)
	a.watcher, err = conf.Watch(a.file, conf.WatchOptions{Digest: cf.Digest, Failed: func(err error) { a.log.Warn("configuration file", "cause", err.Error()) }}, func() { a.reload() })
	if err != nil {
		a.stop()
		_ = a.plane.Shutdown(context.Background()) // nobody has been told that it serves
		ctl.Close()
		a.unobserve()
		return err
	}
	a.log.Info("respgate serves", "version", buildVersion(), "pid", os.Getpid(), "file", a.file, "pools", len(cf.Pools), "proxy-id", cf.ProxyID)
	notify("READY=1")
	return nil
}

// prepare readies the process' own ports and settings for a configuration.
func (a *app) prepare(_, next *conf.Config) (commit, rollback func(), err error) {
	bind, rollback, err := a.ports.change([]service{
		{"admin", next.Admin.Listen, a.whenReady(a.console.Serve)},
		{"metrics", next.Metrics.Listen, a.whenReady(a.metrics.Serve)},
		{"twemproxy-stats", next.Metrics.TwemproxyStats, a.whenReady(a.stats.Serve)},
	})
	if err != nil {
		return nil, nil, err
	}
	return func() {
		a.level.Set(next.Log.Level)
		a.console.Configure(adminConfig(next))
		bind()
	}, rollback, nil
}

// whenReady lets connections wait in the backlog until there is something to answer from.
func (a *app) whenReady(serve func(net.Listener) error) func(net.Listener) error {
	return func(l net.Listener) error {
		<-a.ready
		return serve(l)
	}
}

func adminConfig(cf *conf.Config) admin.Config {
	return admin.Config{Password: cf.Admin.Password.Reveal(), StatsPassword: cf.Admin.StatsPassword.Reveal()}
}

// reload takes over the file as it is now; control logs what came of it.
func (a *app) reload() {
	notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonicMicroseconds()))
	_, _ = a.ctl.Load().Reload(false)
	notify("READY=1")
}

// wait serves until a signal: HUP reloads, INT and TERM drain, a second one of those ends at once.
func (a *app) wait(signals <-chan os.Signal) error {
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				a.log.Info("reload asked for by a signal")
				a.reload()
				continue
			}
			a.log.Info("shutting down: clients get the replies they wait for", "signal", s.String(), "at-most", shutdownGrace.String())
			notify("STOPPING=1")
			return a.drain(signals)
		case err := <-a.fatal:
			a.log.Error("the data plane failed", "cause", err.Error())
			return err
		}
	}
}

// drain ends the data plane, gently until another signal comes. What changes it goes first: a switch that is under way is given
// up, and its requests are let go; one that Sentinel has agreed to is finished, and the clients' time begins after that. The
// control plane vouches for the masters until the last client has gone.
func (a *app) drain(signals <-chan os.Signal) error {
	patient, hurry := context.WithCancel(context.Background())
	defer hurry()
	go func() {
		for {
			select {
			case <-patient.Done():
				return
			case s := <-signals:
				if s != syscall.SIGHUP {
					hurry()
				}
			}
		}
	}()
	settled := make(chan struct{})
	go func() { a.stop(); close(settled) }()
	select {
	case <-settled:
	case <-patient.Done():
	}
	ctx, cancel := context.WithTimeout(patient, shutdownGrace)
	defer cancel()
	switch err := a.plane.Shutdown(ctx); {
	case errors.Is(err, context.DeadlineExceeded):
		a.log.Warn("clients were closed before they had all their replies", "waited", shutdownGrace.String())
	case err != nil:
		a.log.Warn("clients were closed before they had all their replies", "cause", "a second signal")
	}
	select {
	case <-settled:
		a.ctl.Load().Close()
	default: // a second signal: nothing is waited for, and the pause at the old master of a switch ends by itself
	}
	a.unobserve()
	a.log.Info("stopped")
	return nil
}

// stop ends what changes the data plane: the watch of the file, the console, the control plane's decisions.
func (a *app) stop() {
	if a.watcher != nil {
		a.watcher.Close()
	}
	if err := a.console.Close(); err != nil {
		a.log.Warn("closing the admin port", "cause", err.Error())
	}
	a.ctl.Load().Resign()
}

// unobserve ends the ports that tell of the proxy: until then /livez says that it lives, and /readyz that it is shutting down.
func (a *app) unobserve() {
	if err := errors.Join(a.metrics.Close(), a.stats.Close()); err != nil {
		a.log.Warn("closing the metrics ports", "cause", err.Error())
	}
	a.ports.close()
}

// monotonicMicroseconds is CLOCK_MONOTONIC as systemd wants it with RELOADING=1.
func monotonicMicroseconds() int64 { return int64(time.Duration(monotonic()) / time.Microsecond) }
