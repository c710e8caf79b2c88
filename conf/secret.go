package conf

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Secret is a password. Every way to print it gives "***", or "" if there is none; only Reveal gives the password.
type Secret string

const masked = "***"

// String returns "***", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString keeps %#v from printing the password.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// Format keeps every verb, %x and %q among them, from printing the password.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || (verb == 'v' && f.Flag('#')) {
		text = s.GoString()
	}
	io.WriteString(f, text) //nolint:errcheck // fmt.State has nowhere to report it
}

// MarshalText keeps encoders (JSON, YAML) from printing the password.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps slog from printing the password.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Reveal returns the password, for AUTH and for comparing; never for printing.
func (s Secret) Reveal() string { return string(s) }

// maxSecret bounds a password, in bytes; Redis itself takes much longer ones, nobody has them.
const maxSecret = 4096

// readSecret returns the content of a file that holds one password, without the newline at its end.
func readSecret(path string) (Secret, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("must be an absolute path")
	}
	text, err := readOneLine(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, withoutPath(err))
	}
	return Secret(text), nil
}

func readOneLine(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // a pipe would block the reload
		return "", errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+3))
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case text == "":
		return "", errors.New("is empty")
	case len(text) > maxSecret:
		return "", fmt.Errorf("is longer than %d bytes", maxSecret)
	case strings.ContainsAny(text, "\r\n\x00"):
		return "", errors.New("must hold one line")
	}
	return text, nil
}

// withoutPath returns what went wrong without the path, which the message has already.
func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
