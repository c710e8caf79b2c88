package manager

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Store holds the clusters of the manager's file. All its methods may be called by any goroutine; Set and Reload wait for the disk, the others do not.
type Store struct {
	path  string
	state string // fixed at the start, like listen
	log   *slog.Logger

	writing  sync.Mutex // one Set or Reload at a time; guards the three below
	digest   [sha256.Size]byte
	versions versions
	listen   string

	mu       sync.RWMutex // guards the two below, and is never held over a disk
	clusters map[string]Cluster
	password string
}

// Open reads the manager's file and the versions kept beside it.
func Open(path string, log *slog.Logger) (*Store, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f, err := parseFile(path, content)
	if err != nil {
		return nil, err
	}
	kept, err := readVersions(f.State)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, state: f.State, listen: f.Listen, log: log, versions: kept, digest: sha256.Sum256(content)}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s, s.adopt(f)
}

// Listen is the address the file had at the start.
func (s *Store) Listen() string { return s.listen }

// Password is the one clients have to give; "" asks for none.
func (s *Store) Password() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.password
}

// Cluster is the cluster of that name.
func (s *Store) Cluster(name string) (Cluster, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.clusters[name]
	return c, ok
}

// Clusters are all clusters, by name.
func (s *Store) Clusters() []Cluster {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Cluster, 0, len(s.clusters))
	for _, name := range sortedKeys(s.clusters) {
		list = append(list, s.clusters[name])
	}
	return list
}

// Reload reads the file again. One that cannot be read or has a mistake changes nothing; the same one is complained about once.
func (s *Store) Reload() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	content, err := readFile(s.path)
	if err != nil {
		content = []byte(err.Error()) // so that it is told once, and the file is read when it is back
	}
	digest := sha256.Sum256(content)
	if digest == s.digest {
		return nil
	}
	s.digest = digest
	if err != nil {
		return fmt.Errorf("what was read before stays: %w", err)
	}
	f, err := parseFile(s.path, content)
	if err == nil {
		err = s.adopt(f)
	}
	if err != nil {
		return fmt.Errorf("what was read before stays: %w", err)
	}
	return nil
}

// adopt numbers the clusters of a file, keeps their versions on disk, and only then tells them to anybody. The caller holds writing.
func (s *Store) adopt(f *File) error {
	if err := s.number(f.Clusters); err != nil {
		return err
	}
	if f.Listen != s.listen || f.State != s.state {
		s.log.Warn("listen and state change with a restart only")
	}
	fresh := make(map[string]Cluster, len(f.Clusters))
	for _, c := range f.Clusters {
		fresh[c.Name] = c
	}
	s.mu.Lock()
	old := s.clusters
	s.clusters, s.password = fresh, f.Password
	s.mu.Unlock()
	s.report(old, fresh)
	return nil
}

// number gives the clusters their versions and keeps them on disk. The caller holds writing.
func (s *Store) number(clusters []Cluster) error {
	kept, raised, err := s.versions.number(clusters)
	if err != nil {
		return err
	}
	if !maps.Equal(kept, s.versions) {
		if err := kept.write(s.state); err != nil {
			return err
		}
		s.versions = kept
	}
	for _, name := range raised {
		s.log.Warn("the version in the file is not above that of other content: a higher one is told", slog.String("cluster", name),
			slog.Uint64("version", kept[name].Version))
	}
	return nil
}

// report logs what changed.
func (s *Store) report(old, fresh map[string]Cluster) {
	for _, name := range sortedKeys(fresh) {
		if c := fresh[name]; c.Version != old[name].Version {
			s.log.Info("cluster has a new version", slog.String("cluster", name), slog.Uint64("version", c.Version), slog.Uint64("was", old[name].Version),
				slog.Int("groups", len(c.Groups)), slog.Int("sentinels", len(c.Sentinels)))
		}
	}
	for _, name := range sortedKeys(old) {
		if _, ok := fresh[name]; !ok {
			s.log.Warn("cluster removed: its proxies keep what they have", slog.String("cluster", name), slog.Uint64("version", old[name].Version))
		}
	}
}

// Change is what MANAGER SET asks for; a nil part stays as it is.
type Change struct {
	Groups    []Group
	Sentinels []Sentinel
	Settings  map[string]string
	Version   uint64 // 0: the next one
}

// ErrRefused is wrapped by the errors of Set that are the caller's fault.
var ErrRefused = errors.New("refused")

// Set changes a cluster, or makes one, and rewrites the file. The file is read first: edits by hand that are not taken yet go along, and a file with a
// mistake is left alone.
func (s *Store) Set(name string, change Change) (Cluster, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	f, err := ReadFile(s.path)
	if err != nil {
		return Cluster{}, fmt.Errorf("the manager's file has to be corrected first: %w", err)
	}
	i := slices.IndexFunc(f.Clusters, func(c Cluster) bool { return c.Name == name })
	if i < 0 {
		i = len(f.Clusters)
		f.Clusters = append(f.Clusters, Cluster{Name: name})
	}
	before, _ := s.Cluster(name)
	if err := s.merge(&f.Clusters[i], change); err != nil {
		return Cluster{}, err
	}
	if len(f.Clusters) > maxClusters {
		return Cluster{}, fmt.Errorf("%w: at most %d clusters are allowed", ErrRefused, maxClusters)
	}
	if err := s.number(f.Clusters); err != nil {
		return Cluster{}, err
	}
	want := f.Clusters[i]
	if before.Version == want.Version && before.Fingerprint() == want.Fingerprint() {
		return want, s.adopt(f) // nothing to write
	}
	content, err := s.rewrite(f, want)
	if err != nil {
		return Cluster{}, err
	}
	s.digest = sha256.Sum256(content)
	return want, s.adopt(f)
}

// merge puts the change over the cluster of the file. Its version becomes 0, or the one asked for, so that number decides.
func (s *Store) merge(c *Cluster, change Change) error {
	if change.Groups != nil {
		c.Groups = change.Groups
	}
	if change.Sentinels != nil {
		c.Sentinels = change.Sentinels
	}
	if change.Settings != nil {
		c.Settings = change.Settings
	}
	if err := c.listFault(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if kept := s.versions[c.Name].Version; change.Version > 0 && change.Version <= kept {
		return fmt.Errorf("%w: version %d is not above %d", ErrRefused, change.Version, kept)
	}
	c.Version = change.Version
	return nil
}

// rewrite puts the cluster into the file. What is about to be written is read back first: it has to say what was meant.
func (s *Store) rewrite(f *File, want Cluster) ([]byte, error) {
	f.put(want)
	content, err := f.render()
	if err != nil {
		return nil, fmt.Errorf("rewrite %s: %w", s.path, err)
	}
	back, err := parseFile(s.path, content)
	if err != nil {
		return nil, fmt.Errorf("rewrite %s: what would be written has a mistake: %w", s.path, err)
	}
	i := slices.IndexFunc(back.Clusters, func(c Cluster) bool { return c.Name == want.Name })
	if i < 0 || back.Clusters[i].Fingerprint() != want.Fingerprint() || len(content) > maxFile {
		return nil, fmt.Errorf("rewrite %s: the file cannot hold this change", s.path)
	}
	if err := replaceFile(f.path, content, 0o600); err != nil {
		return nil, fmt.Errorf("rewrite %s: %w", s.path, err)
	}
	return content, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
