package conf

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads and checks a configuration file. The error is an *Errors with everything that is wrong.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &Errors{List: []*Error{{File: path, Message: "read: " + withoutPath(err).Error(), Cause: err}}}
	}
	return Parse(path, data)
}

// Parse checks the content of a configuration file; name stands for the file in errors. It reads the files that secrets are in,
// the name of the host and $STATE_DIRECTORY. The error is an *Errors with everything that is wrong.
func Parse(name string, data []byte) (*Config, error) {
	r := newReader(name)
	cfg := r.config(data)
	if errs := r.result(); errs != nil {
		return nil, errs
	}
	inFileOrder(r.warnings)
	cfg.File, cfg.Digest, cfg.warnings = name, digest(data), r.warnings
	return cfg, nil
}

// readFile returns the content of path, at most one byte more than MaxFileSize.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFileSize+1))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// config returns what the file says; it is of use only if r has no mistake.
func (r *reader) config(data []byte) *Config {
	top := r.parseDocument(data)
	if top == nil {
		return nil
	}
	m, _ := globalSection.read(r, "", top)
	if m == nil {
		return nil
	}
	pools, _ := m[poolsKey].(map[string]*Pool)
	delete(m, poolsKey)
	cfg := &Config{}
	if err := decodeExact(m, cfg); err != nil {
		r.failf(top, "", "the key table and the configuration disagree")
		return nil
	}
	cfg.Pools = pools
	cfg.fromHost()
	r.checkConfig(cfg)
	return cfg
}

// readPools reads the key pools. It returns the pools that have mistakes too, which r has noted: the rules across keys are
// checked all the same.
func readPools(r *reader, path string, n *yaml.Node) (any, bool) {
	fields, ok := r.fields(path, n)
	if !ok {
		return nil, false
	}
	if len(target(n).Content) == 0 {
		r.failf(n, path, "must have at least one pool")
		return nil, false
	}
	if len(fields) > maxPools {
		r.failf(n, path, "must have at most %d pools, not %d", maxPools, len(fields))
		return nil, false
	}
	pools := make(map[string]*Pool, len(fields))
	for _, f := range fields {
		at := join(path, show(f.name))
		if err := checkName(f.name); err != nil {
			r.failf(f.key, at, "the name of a pool %v", err)
			continue
		}
		r.at[at] = f.key
		m, _ := poolSection.read(r, at, f.value)
		if m == nil {
			continue
		}
		p := &Pool{}
		if err := decodeExact(m, p); err != nil {
			r.failf(f.key, at, "the key table and the pool disagree")
			return nil, false
		}
		p.Name = f.name
		pools[f.name] = p
	}
	return pools, true
}

// fromHost fills in what the file leaves to the machine.
func (c *Config) fromHost() {
	if c.StateDir == "" {
		if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) { // set by systemd
			c.StateDir = dir
		}
	}
	if c.ProxyID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "respgate"
		}
		c.ProxyID, c.idFromHost = defaultProxyID(host, c.Admin.Listen), true
	}
}

// defaultProxyID is the same after a restart, and differs between proxies of one host: their admin ports differ.
func defaultProxyID(host, admin string) string {
	id := strings.Map(func(c rune) rune {
		if c < 0x80 && only(string(c), "._-") {
			return c
		}
		return '-'
	}, host)
	if len(id) > maxProxyID-len("-65535") {
		id = id[:maxProxyID-len("-65535")]
	}
	if _, port, err := net.SplitHostPort(admin); err == nil {
		return fmt.Sprintf("%s-%s", id, port)
	}
	return id
}
