package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	httpConnections = 64 // at once; further ones wait to be accepted
	httpScrapes     = 4  // at once; further ones get 503
	scrapeTime      = 10 * time.Second
	closeTime       = 2 * time.Second // that Close gives to running requests
)

// Server answers /metrics, /livez and /readyz. Its methods may be called by any goroutine.
type Server struct {
	http *http.Server
}

// NewServer makes a server; Serve starts it.
func NewServer(source Source, log *slog.Logger) *Server {
	return &Server{&http.Server{
		Handler:           NewHandler(source, log),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      scrapeTime + 20*time.Second,
		IdleTimeout:       2 * time.Minute, // more than the usual scrape interval
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what peers do wrong
	}}
}

// Serve answers on l, which it owns, until Close or until l is closed by somebody else; it returns nil then.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(newBounded(l, httpConnections))
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("metrics: serve %s: %w", l.Addr(), err)
}

// Close closes the listeners and, after the running requests or two seconds, the connections.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := s.http.Shutdown(ctx); err == nil {
		return nil
	}
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("metrics: close: %w", err)
	}
	return nil
}

// NewHandler serves a source:
//
//	/metrics  Prometheus' text
//	/livez    200 while the process answers
//	/readyz   200 when every pool is up, 503 and the reasons otherwise, one a line
func NewHandler(source Source, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(source), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: httpScrapes,
		Timeout:             scrapeTime,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := notReady(source); len(reasons) > 0 {
			answer(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n")+"\n")
			return
		}
		answer(w, http.StatusOK, "ok\n")
	})
	return mux
}

// notReady says why the proxy is not ready, nothing if it is.
func notReady(source Source) []string {
	pools := source.Pools("")
	if len(pools) == 0 {
		return []string{"no pool is served yet"}
	}
	var reasons []string
	for _, p := range pools {
		if p.State == stateUp {
			continue
		}
		reason := fmt.Sprintf("pool '%s' is %s", p.Name, p.State)
		if p.Cause != "" {
			reason += ": " + p.Cause
		}
		reasons = append(reasons, strings.Join(strings.Fields(reason), " "))
	}
	return reasons
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // an error means that nobody listens any more
}
