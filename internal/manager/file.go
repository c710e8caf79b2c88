package manager

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 4 << 20

// File is the manager's file as it was read: its tree, with comments, and what it says.
type File struct {
	Listen   string    // host:port; 127.0.0.1:7078 if the file has none
	Password string    // of the clients; "" asks for none
	State    string    // where the versions are kept; beside the file if it has none
	Clusters []Cluster // with the version the file gives; 0 if the manager is to number it

	path string     // of the file itself, symbolic links resolved
	doc  *yaml.Node // the document, with the comments around its mapping
}

// Fault is one mistake in the file.
type Fault struct {
	File string
	Line int // 0: of the file as a whole
	Path string
	Text string
}

func (f Fault) Error() string {
	where := f.File
	if f.Line > 0 {
		where += ":" + strconv.Itoa(f.Line)
	}
	if f.Path != "" {
		where += ": " + f.Path
	}
	return where + ": " + f.Text
}

// readFile reads the bytes of a file of a bounded size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, Fault{File: path, Text: fmt.Sprintf("the file is larger than %d bytes", maxFile)}
	}
	return content, nil
}

// ReadFile reads and checks the manager's file. Its error joins a Fault for every mistake.
func ReadFile(path string) (*File, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseFile(path, content)
}

func parseFile(path string, content []byte) (*File, error) {
	p := &parser{file: path}
	f := &File{Listen: "127.0.0.1:7078", State: path + ".versions", path: path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		f.path = real
	}
	f.doc = p.document(content)
	if f.doc != nil {
		p.fields(f.doc.Content[0], "", map[string]func(*yaml.Node, string){
			"listen":   func(n *yaml.Node, at string) { p.address(n, at, &f.Listen) },
			"password": func(n *yaml.Node, at string) { p.text(n, at, &f.Password) },
			"state":    func(n *yaml.Node, at string) { p.state(n, at, &f.State) },
			"clusters": func(n *yaml.Node, at string) { f.Clusters = p.clusters(n, at) },
		})
	}
	if len(p.faults) > 0 {
		return nil, errors.Join(p.faults...)
	}
	return f, nil
}

// parser walks the tree and collects every mistake. It never quotes a value: it might be a password in the wrong place.
type parser struct {
	file   string
	faults []error
}

func (p *parser) fault(n *yaml.Node, at, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	p.faults = append(p.faults, Fault{File: p.file, Line: line, Path: at, Text: fmt.Sprintf(format, args...)})
}

// document parses the one document of the file and checks that it is a mapping.
func (p *parser) document(content []byte) *yaml.Node {
	d := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		p.fault(nil, "", "the file is empty")
		return nil
	case err != nil:
		p.fault(nil, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		p.fault(nil, "", "there is something behind the end of the first document")
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		p.fault(root, "", "the file has to be a mapping")
		return nil
	}
	return &doc
}

// fields hands every value of a mapping to the function of its key.
func (p *parser) fields(n *yaml.Node, at string, known map[string]func(*yaml.Node, string)) {
	p.pairs(n, at, func(key, value *yaml.Node, at string) {
		if take, ok := known[key.Value]; ok {
			take(value, at)
			return
		}
		p.fault(key, at, "unknown key")
	})
}

// pairs walks a mapping; keys that are no strings or there twice are faults.
func (p *parser) pairs(n *yaml.Node, at string, take func(key, value *yaml.Node, at string)) {
	if n.Kind != yaml.MappingNode {
		p.fault(n, at, "has to be a mapping")
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || (key.Tag != "!!str" && key.Tag != "!!int"):
			p.fault(key, at, "a key has to be a string")
		case seen[key.Value]:
			p.fault(key, join(at, key.Value), "is there twice")
		default:
			seen[key.Value] = true
			take(key, value, join(at, key.Value))
		}
	}
}

func join(at, key string) string {
	if strings.ContainsFunc(key, unprintable) || len(key) > maxName {
		key = "?"
	}
	if at == "" {
		return key
	}
	return at + "." + key
}

// scalar takes a string or a number as it is spelled; an alias, a null or a boolean is none.
func (p *parser) scalar(n *yaml.Node, at string) (string, bool) {
	if n.Kind == yaml.ScalarNode && slices.Contains([]string{"!!str", "!!int", "!!float"}, n.Tag) {
		return n.Value, true
	}
	p.fault(n, at, "has to be a string; quote it if it is one")
	return "", false
}

func (p *parser) text(n *yaml.Node, at string, dst *string) {
	if s, ok := p.scalar(n, at); ok {
		*dst = s
	}
}

// state takes a path, relative to the directory of the file it stands in.
func (p *parser) state(n *yaml.Node, at string, dst *string) {
	s, ok := p.scalar(n, at)
	switch {
	case !ok:
	case s == "":
		p.fault(n, at, "has to be a path")
	case filepath.IsAbs(s):
		*dst = s
	default:
		*dst = filepath.Join(filepath.Dir(p.file), s)
	}
}

func (p *parser) address(n *yaml.Node, at string, dst *string) {
	s, ok := p.scalar(n, at)
	if !ok {
		return
	}
	if host, port, found := cutAddress(s); !found || port == "" || host != "" && !validHost(host) && host != "0.0.0.0" && host != "::" {
		p.fault(n, at, "has to be host:port")
		return
	}
	*dst = s
}

func (p *parser) clusters(n *yaml.Node, at string) (clusters []Cluster) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil // a manager that starts empty and is filled by MANAGER SET
	}
	p.pairs(n, at, func(key, value *yaml.Node, at string) {
		if !validName(key.Value) {
			p.fault(key, at, "a cluster's name has 1 to %d of the characters A-Z a-z 0-9 . _ -", maxName)
			return
		}
		clusters = append(clusters, p.cluster(key.Value, value, at))
	})
	if len(clusters) > maxClusters {
		p.fault(n, at, "at most %d clusters are allowed", maxClusters)
	}
	return clusters
}

func (p *parser) cluster(name string, n *yaml.Node, at string) Cluster {
	d := Cluster{Name: name}
	before := len(p.faults)
	p.fields(n, at, map[string]func(*yaml.Node, string){
		"version":   func(n *yaml.Node, at string) { d.Version = p.version(n, at) },
		"groups":    func(n *yaml.Node, at string) { d.Groups = p.groups(n, at) },
		"sentinels": func(n *yaml.Node, at string) { d.Sentinels = p.sentinels(n, at) },
		"settings":  func(n *yaml.Node, at string) { d.Settings = p.settings(n, at) },
	})
	if len(p.faults) > before {
		return d
	}
	if err := d.listFault(); err != nil {
		p.fault(n, at, "%s", err)
	}
	return d
}

func (p *parser) version(n *yaml.Node, at string) uint64 {
	v, err := strconv.ParseUint(n.Value, 10, 63)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v == 0 {
		p.fault(n, at, "has to be a positive integer")
		return 0
	}
	return v
}

func (p *parser) items(n *yaml.Node, at string, take func(n *yaml.Node, at string)) {
	if n.Kind != yaml.SequenceNode {
		p.fault(n, at, "has to be a list")
		return
	}
	for i, item := range n.Content {
		take(item, fmt.Sprintf("%s[%d]", at, i))
	}
}

func (p *parser) groups(n *yaml.Node, at string) (groups []Group) {
	p.items(n, at, func(n *yaml.Node, at string) {
		g := Group{Weight: 1}
		before := len(p.faults)
		if n.Kind == yaml.MappingNode {
			p.fields(n, at, map[string]func(*yaml.Node, string){
				"name": func(n *yaml.Node, at string) { p.text(n, at, &g.Name) },
				"weight": func(n *yaml.Node, at string) {
					if v := p.version(n, at); v > 0 {
						g.Weight = int(min(v, maxWeight+1))
					}
				},
			})
		} else {
			p.text(n, at, &g.Name)
		}
		if err := groupFault(g); err != nil && len(p.faults) == before {
			p.fault(n, at, "%s", err)
		}
		groups = append(groups, g)
	})
	return groups
}

func (p *parser) sentinels(n *yaml.Node, at string) (sentinels []Sentinel) {
	p.items(n, at, func(n *yaml.Node, at string) {
		text, ok := p.scalar(n, at)
		if !ok {
			return
		}
		s, err := parseSentinel(text)
		if err != nil {
			p.fault(n, at, "%s", err)
		}
		sentinels = append(sentinels, s)
	})
	return sentinels
}

func (p *parser) settings(n *yaml.Node, at string) map[string]string {
	settings := map[string]string{}
	p.pairs(n, at, func(key, value *yaml.Node, at string) {
		if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
			p.fault(value, at, "has to be a string or a number")
			return
		}
		if err := settingFault(key.Value, value.Value); err != nil {
			p.fault(value, at, "%s", err)
		}
		settings[key.Value] = value.Value
	})
	return settings
}
