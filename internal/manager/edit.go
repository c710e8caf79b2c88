package manager

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"
)

func cutAddress(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	return host, port, err == nil
}

// put makes the tree say what c says, cluster by cluster key; whatever else is in it stays as it is, comments too. A version is written only where the
// file has one already: elsewhere the manager numbers.
func (f *File) put(c Cluster) {
	clusters := child(f.doc.Content[0], "clusters", yaml.MappingNode)
	node := child(clusters, c.Name, yaml.MappingNode)
	if lookup(node, "version") != nil {
		set(node, "version", number(c.Version))
	}
	groups := child(node, "groups", yaml.SequenceNode)
	old := groups.Content
	groups.Content = nil
	for _, g := range c.Groups {
		groups.Content = append(groups.Content, groupNode(old, g))
	}
	sentinels := child(node, "sentinels", yaml.SequenceNode)
	old = sentinels.Content
	sentinels.Content = nil
	for _, s := range c.Sentinels {
		sentinels.Content = append(sentinels.Content, reuse(old, s.String()))
	}
	if len(c.Settings) == 0 && lookup(node, "settings") == nil {
		return
	}
	settings := child(node, "settings", yaml.MappingNode)
	settings.Content = keep(settings.Content, c.Settings)
	for _, name := range sortedKeys(c.Settings) {
		if v := lookup(settings, name); v == nil || v.Value != c.Settings[name] {
			set(settings, name, text(c.Settings[name]))
		}
	}
}

// keep drops the pairs of a mapping whose keys are not in want.
func keep(pairs []*yaml.Node, want map[string]string) (kept []*yaml.Node) {
	for i := 0; i < len(pairs); i += 2 {
		if _, ok := want[pairs[i].Value]; ok {
			kept = append(kept, pairs[i], pairs[i+1])
		}
	}
	return kept
}

func lookup(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// child is the value of a key, made if it is not there or null.
func child(mapping *yaml.Node, key string, kind yaml.Kind) *yaml.Node {
	n := lookup(mapping, key)
	if n == nil {
		n = &yaml.Node{}
		mapping.Content = append(mapping.Content, text(key), n)
	}
	if n.Kind != kind {
		*n = yaml.Node{Kind: kind, HeadComment: n.HeadComment, LineComment: n.LineComment, FootComment: n.FootComment}
	}
	if len(n.Content) == 0 {
		n.Style = 0 // {} and [] are for nothing
	}
	return n
}

// set replaces the value of a key and keeps the comments on it.
func set(mapping *yaml.Node, key string, value *yaml.Node) {
	n := lookup(mapping, key)
	if n == nil {
		mapping.Content = append(mapping.Content, text(key), value)
		return
	}
	value.HeadComment, value.LineComment, value.FootComment = n.HeadComment, n.LineComment, n.FootComment
	*n = *value
}

func groupNode(old []*yaml.Node, g Group) *yaml.Node {
	for _, n := range old {
		if n.Kind != yaml.MappingNode {
			continue
		}
		if name := lookup(n, "name"); name != nil && name.Value == g.Name {
			if w := lookup(n, "weight"); w != nil || g.Weight != 1 {
				set(n, "weight", number(uint64(g.Weight)))
			}
			return n
		}
	}
	if g.Weight == 1 {
		return reuse(old, g.Name)
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	n.Content = []*yaml.Node{text("name"), text(g.Name), text("weight"), number(uint64(g.Weight))}
	return n
}

// reuse is the scalar of that value among old, with its comments, or a new one.
func reuse(old []*yaml.Node, value string) *yaml.Node {
	for _, n := range old {
		if n.Kind == yaml.ScalarNode && n.Value == value {
			return n
		}
	}
	return text(value)
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s) // it quotes what would be read as something else
	return n
}

func number(v uint64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatUint(v, 10)}
}

// render is the file with its changes.
func (f *File) render() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(f.doc); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// replaceFile puts content in the place of path: a crash at any moment leaves the old file or the new one whole. The mode of an old file stays; a new one
// gets mode.
func replaceFile(path string, content []byte, mode os.FileMode) (err error) {
	if info, statErr := os.Stat(path); statErr == nil {
		mode = info.Mode().Perm()
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is told
		}
	}()
	_, err = f.Write(content)
	for _, step := range []func() error{func() error { return f.Chmod(mode) }, f.Sync} {
		if err == nil {
			err = step()
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
