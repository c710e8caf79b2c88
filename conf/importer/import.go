// Package importer turns a configuration of twemproxy (nutcracker 0.5.0) or of twemproxy-163, its fork with sentinels, into
// one of respgate under which no key moves, and says what means something else there.
//
//	YAML -> source (strict, as twemproxy reads it) -> translation of each pool -> sheet -> conf.Parse
//
// It owns what is particular to twemproxy's files. What a value may be is decided by conf alone: the result is parsed
// before it is returned, and what conf objects to is told with the place in the original file.
package importer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"respgate/conf"
)

const (
	maxErrors   = 100
	maxWarnings = 1000
)

// Import returns the respgate file for a twemproxy or twemproxy-163 file, and a warning ("file:line: pool: key: text")
// for whatever means something else there. fileName only stands for the file in messages and in the head of out. The error
// is a *conf.Errors with everything that keeps the file from being imported; then out is nil. No message quotes a
// password; out has them in clear, as the input does.
func Import(in []byte, fileName string) (out []byte, warnings []string, err error) {
	im := &run{file: fileName}
	pools := im.parse(in)
	s := &sheet{}
	s.comment("Imported from %q, a configuration of twemproxy. No key moves: the rings are the same.", fileName)
	s.comment("What nutcracker takes as flags is set in the file here: its port of statistics (-s) is metrics.twemproxy_stats.")
	s.line(0, nil, "pools:")
	for i := range pools {
		im.translate(s, &pools[i])
	}
	if len(im.errs) == 0 {
		im.check(s)
	}
	if len(im.errs) > 0 {
		inFileOrder(im.errs)
		return nil, nil, &conf.Errors{List: im.errs, Omitted: im.omitted}
	}
	inFileOrder(im.warnings)
	for _, w := range im.warnings {
		warnings = append(warnings, w.Error())
	}
	return s.bytes(), warnings, nil
}

// run is one import.
type run struct {
	file     string
	errs     []*conf.Error
	omitted  int // errors beyond maxErrors
	warnings []*conf.Error
}

func inFileOrder(list []*conf.Error) {
	slices.SortStableFunc(list, func(a, b *conf.Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

func (im *run) fail(at place, key, format string, args ...any) {
	if len(im.errs) >= maxErrors {
		im.omitted++
		return
	}
	im.errs = append(im.errs, &conf.Error{File: im.file, Line: at.line, Column: at.column, Key: key, Message: fmt.Sprintf(format, args...)})
}

func (im *run) warn(at place, key, format string, args ...any) {
	if len(im.warnings) < maxWarnings {
		im.warnings = append(im.warnings, &conf.Error{File: im.file, Line: at.line, Key: key, Message: fmt.Sprintf(format, args...)})
	}
}

// check has conf read what was written.
func (im *run) check(s *sheet) {
	_, err := conf.Parse(im.file, s.bytes())
	var mistakes *conf.Errors
	switch {
	case errors.As(err, &mistakes):
		for _, e := range mistakes.List {
			im.fail(s.source(e.Line), strings.TrimPrefix(e.Key, "pools."), "%s", e.Message)
		}
		im.omitted += mistakes.Omitted
	case err != nil:
		im.fail(place{}, "", "%v", err)
	}
}
