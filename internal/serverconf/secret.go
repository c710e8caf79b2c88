package serverconf

import (
	"errors"
	"strings"
)

const masked = "***"

// Secret says that a setting of a server is one that nobody is shown: the passwords, and the user that replicas log in as, as
// Redis keeps them out of its own logs.
func Secret(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "masteruser", "primaryuser":
		return true
	}
	for _, end := range []string{"auth", "pass", "passphrase", "password", "secret"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// mask takes a value out of an error: servers quote what they refuse, the beginning of it if it is long.
func mask(err error, value string) error {
	const quoted = 64 // less than what any server quotes
	text := err.Error()
	beginning := value[:min(len(value), quoted)]
	at := strings.Index(text, beginning)
	switch {
	case value == "" || at < 0:
		return err
	case strings.Contains(text, value):
		return errors.New(strings.ReplaceAll(text, value, masked))
	}
	return errors.New(text[:at] + masked)
}
