package conf

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes.
type Bytes int64

// Units of Bytes; powers of two, as "kb", "mb" and "gb" are in redis.conf.
const (
	KB Bytes = 1 << 10
	MB Bytes = 1 << 20
	GB Bytes = 1 << 30
)

// String returns the size as the file would have it, in the largest unit without a fraction.
func (b Bytes) String() string {
	switch {
	case b == 0:
		return "0"
	case b%GB == 0:
		return strconv.FormatInt(int64(b/GB), 10) + "gb"
	case b%MB == 0:
		return strconv.FormatInt(int64(b/MB), 10) + "mb"
	case b%KB == 0:
		return strconv.FormatInt(int64(b/KB), 10) + "kb"
	}
	return strconv.FormatInt(int64(b), 10)
}

var errBytes = errors.New(`must be a number of bytes or a size like "512kb", "32mb", "1gb"`)

func parseBytes(s string) (Bytes, error) {
	digits := strings.TrimRight(strings.ToLower(s), "bkmg")
	unit := Bytes(1)
	switch strings.ToLower(s[len(digits):]) {
	case "", "b":
	case "kb":
		unit = KB
	case "mb":
		unit = MB
	case "gb":
		unit = GB
	default: // "k" and "m" are powers of ten in redis.conf and of two elsewhere
		return 0, errBytes
	}
	n, ok := decimal(digits)
	if !ok {
		return 0, errBytes
	}
	if n > 0 && int64(unit) > (1<<62)/n {
		return 0, errors.New("is too large")
	}
	return Bytes(n) * unit, nil
}

var errDuration = errors.New(`must be a duration like "500ms" or "3s", or a whole number of milliseconds`)

// parseDuration reads "500ms", "1m30s", or an integer of milliseconds as twemproxy has it. Fractions of a millisecond are refused.
func parseDuration(s string) (time.Duration, error) {
	if ms, ok := decimal(s); ok {
		if ms > int64(maxDuration/time.Millisecond) || ms < -int64(maxDuration/time.Millisecond) {
			return 0, fmt.Errorf("must be at most %s", showDuration(maxDuration))
		}
		return time.Duration(ms) * time.Millisecond, nil
	}
	d, err := parseFine(s)
	if err == nil && d%time.Millisecond != 0 {
		return 0, errors.New("must be a whole number of milliseconds")
	}
	return d, err
}

// parseFine reads "150us" and "1.5ms" as well, to the microsecond; a unit is required.
func parseFine(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errDuration
	}
	if d%time.Microsecond != 0 {
		return 0, errors.New("must be a whole number of microseconds")
	}
	return d, nil
}

// maxBatch is the longest rest of a busy loop: more is felt by clients, and gathers no more.
const maxBatch = 5 * time.Millisecond

// maxDuration is the longest duration that any key takes.
const maxDuration = time.Hour

// showDuration returns the duration as the file would have it: "1h", not "1h0m0s".
func showDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	s := strings.Replace(d.String(), "µ", "u", 1) // as it can be typed
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// decimal reads a whole number in decimal: no sign but "-", no leading zero (YAML 1.1 reads 010 as octal), no underscore.
func decimal(s string) (int64, bool) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || (digits[0] == '0' && s != "0") {
		return 0, false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
