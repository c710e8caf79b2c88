package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// newLogger logs to w: coloured lines on a terminal, JSON otherwise, unless format says which.
func newLogger(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	terminal := false
	if f, ok := w.(*os.File); ok {
		terminal = term.IsTerminal(int(f.Fd()))
	}
	if format == "json" || format != "text" && !terminal {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level:      level,
		TimeFormat: "2006-01-02T15:04:05.000Z07:00",
		NoColor:    !terminal || os.Getenv("NO_COLOR") != "",
	}))
}

// shutdownGrace is how long clients may take to get the replies they wait for.
const shutdownGrace = 10 * time.Second
