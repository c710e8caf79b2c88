package manager

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
)

// maxRemembered bounds the clusters whose versions are kept; those that were removed from the file count, too.
const maxRemembered = 4 * maxClusters

// versions remembers for every cluster there ever was the last version and the content it stood for. It is written before a version is told to anybody, so
// that a version never comes back with other content, whatever happens to the process or to the manager's file.
type versions map[string]numbered

type numbered struct {
	Version uint64 `json:"version"`
	Content string `json:"content"` // fingerprint
}

// readVersions reads what was kept; nothing if there is no file.
func readVersions(path string) (versions, error) {
	content, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return versions{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the versions: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	var v versions
	if err := d.Decode(&v); err != nil || v == nil || d.More() {
		return nil, fmt.Errorf("%s is damaged: the versions told to the proxies are lost. Take it from a backup; or remove it, and give each cluster a 'version' above the one that PROXY MANAGER shows on its proxies", path)
	}
	return v, nil
}

func (v versions) write(path string) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = replaceFile(path, append(content, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the versions in %s (key 'state'): %w", path, err)
	}
	return nil
}

// number gives every cluster its version. It returns the versions to keep, which are v itself if nothing changed, and the names of the clusters whose
// content changed without the higher version in the file that it should have had.
func (v versions) number(clusters []Cluster) (kept versions, raised []string, err error) {
	kept = v
	changed := false
	for i := range clusters {
		c := &clusters[i]
		old, content := kept[c.Name], c.Fingerprint()
		declared := c.Version
		switch {
		case content == old.Content:
			c.Version = max(declared, old.Version)
		case declared > old.Version:
		case old.Version == maxVersion:
			return nil, nil, fmt.Errorf("cluster '%s' has the highest version there is, and other content now", c.Name)
		default:
			c.Version = old.Version + 1
		}
		if declared > 0 && declared < c.Version {
			raised = append(raised, c.Name)
		}
		if fresh := (numbered{Version: c.Version, Content: content}); fresh != old {
			if !changed {
				kept, changed = maps.Clone(kept), true
			}
			kept[c.Name] = fresh
		}
	}
	if len(kept) > maxRemembered {
		return nil, nil, fmt.Errorf("more than %d clusters to remember the versions of: remove those that no proxy knows any more from the file under 'state'", maxRemembered)
	}
	return kept, raised, nil
}

const maxVersion = 1<<63 - 1
