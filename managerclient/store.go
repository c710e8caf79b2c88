package managerclient

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// store keeps the last good topology of one pool in one file: a line with the format, the SHA-256 and the length of what follows, then JSON. Every byte is
// under the checksum or compared as it must be, so that no changed byte passes.
type store struct {
	path    string // "" keeps nothing
	cluster string
}

const (
	storeFormat = "respgate-topology-1"
	storeMost   = 1 << 20 // bytes; a topology of the greatest size needs a fifth of it
)

// errNothingStored says that there is no file yet, which is no fault.
var errNothingStored = errors.New("nothing stored")

// record is the JSON of the file.
type record struct {
	Cluster   string            `json:"cluster"`
	Version   uint64            `json:"version"`
	Groups    []storedGroup     `json:"groups"`
	Sentinels []string          `json:"sentinels"`
	Settings  map[string]string `json:"settings,omitempty"`
	Manager   string            `json:"manager"`
}

type storedGroup struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"`
}

func newStore(dir, pool, cluster string) store {
	if dir == "" {
		return store{}
	}
	return store{path: filepath.Join(dir, fileName(pool)), cluster: cluster}
}

// fileName keeps the letters of a pool's name that are harmless in a file name and spells the others out, so that two pools never share a file.
func fileName(pool string) string {
	var b strings.Builder
	for _, c := range []byte(pool) {
		if validName(string(rune(c))) && c != '.' && c < 0x80 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	name := b.String()
	if len(name) > 200 { // the longest file name is 255 bytes
		sum := sha256.Sum256([]byte(pool))
		name = name[:100] + "%" + hex.EncodeToString(sum[:16])
	}
	return "manager-" + name + ".last"
}

// save replaces the file so that a crash at any moment leaves the old or the new one whole. It blocks on the disk.
func (s store) save(t Topology) error {
	if s.path == "" {
		return nil
	}
	r := record{Cluster: s.cluster, Version: t.Version, Sentinels: t.Sentinels, Settings: t.Settings, Manager: t.Manager}
	for _, g := range t.Groups {
		r.Groups = append(r.Groups, storedGroup(g))
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep the last good topology: %w", err)
	}
	if err := replaceFile(s.path, append(storeHeader(body), body...)); err != nil {
		return fmt.Errorf("keep the last good topology: %w", err)
	}
	return nil
}

func storeHeader(body []byte) []byte {
	return fmt.Appendf(nil, "%s %x %d\n", storeFormat, sha256.Sum256(body), len(body))
}

// replaceFile writes a file next to path, syncs it, renames it over path and syncs the directory.
func replaceFile(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is told
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
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

// load reads the file back; errNothingStored without one. Any other error says what is wrong with it and quotes nothing of it.
func (s store) load() (Topology, error) {
	if s.path == "" {
		return Topology{}, errNothingStored
	}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Topology{}, errNothingStored
	}
	if err != nil {
		return Topology{}, fmt.Errorf("read the last good topology: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, storeMost+1))
	if err != nil {
		return Topology{}, fmt.Errorf("read the last good topology: %w", err)
	}
	t, err := s.parse(content)
	if err != nil {
		return Topology{}, fmt.Errorf("last good topology in %s: %w", s.path, err)
	}
	return t, nil
}

func (s store) parse(content []byte) (Topology, error) {
	if len(content) > storeMost {
		return Topology{}, fmt.Errorf("the file is larger than %d bytes", storeMost)
	}
	head, body, ok := bytes.Cut(content, []byte("\n"))
	if !ok || !bytes.HasPrefix(head, []byte(storeFormat+" ")) {
		return Topology{}, errors.New("the file is not one that respgate wrote")
	}
	if !bytes.Equal(append(head, '\n'), storeHeader(body)) {
		return Topology{}, errors.New("the file is damaged: its checksum or its length is wrong")
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Topology{}, errors.New("the file is damaged: its JSON is not the expected one")
	}
	if r.Cluster != s.cluster {
		return Topology{}, fmt.Errorf("the file is of another cluster, not of '%s'", s.cluster)
	}
	t := Topology{Version: r.Version, Sentinels: r.Sentinels, Settings: r.Settings, Manager: printable(r.Manager), FromDisk: true}
	for _, g := range r.Groups {
		t.Groups = append(t.Groups, Group(g))
	}
	if err := t.validate(); err != nil {
		return Topology{}, fmt.Errorf("the file is damaged: %w", err)
	}
	return t, nil
}
