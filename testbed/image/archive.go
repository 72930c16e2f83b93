package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	reference "github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// assemble makes an image of one layer. What the labels say stands in the annotations too: engines show the one, registries the other.
func assemble(root string, s settings) (v1.Image, error) {
	files, err := pack(root, s.created)
	if err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil }
	layer, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	labels := map[string]string{
		"org.opencontainers.image.title":       name,
		"org.opencontainers.image.description": s.description,
		"org.opencontainers.image.version":     s.version,
		"org.opencontainers.image.revision":    s.revision,
		"org.opencontainers.image.licenses":    s.licence,
		"org.opencontainers.image.created":     s.created.Format(time.RFC3339),
	}
	if s.source != "" {
		labels["org.opencontainers.image.source"] = s.source
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS:           "linux",
		Architecture: s.arch,
		Created:      v1.Time{Time: s.created},
		RootFS:       v1.RootFS{Type: "layers"},
		Config:       v1.Config{Entrypoint: []string{"/" + name}, User: user, WorkingDir: "/", Labels: labels},
	})
	if err != nil {
		return nil, err
	}
	history := v1.History{Created: v1.Time{Time: s.created}, CreatedBy: "make image"}
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: history, MediaType: types.OCILayer}); err != nil {
		return nil, err
	}
	image = mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.Annotations(image, labels).(v1.Image), nil
}

// write lays the image out as OCI says, adds the list that `docker load` of older engines reads, and packs both.
func write(archive string, image v1.Image, s settings) error {
	tag, err := reference.NewTag(s.tag)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// containerd takes the full name from the one, OCI's tools the tag from the other.
	named := map[string]string{"io.containerd.image.name": full(tag), "org.opencontainers.image.ref.name": tag.TagStr()}
	platform := v1.Platform{OS: "linux", Architecture: s.arch}
	if err := to.AppendImage(image, layout.WithAnnotations(named), layout.WithPlatform(platform)); err != nil {
		return err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	blob := func(of v1.Descriptor) string { return "blobs/" + of.Digest.Algorithm + "/" + of.Digest.Hex }
	listed := tarball.Descriptor{Config: blob(manifest.Config), RepoTags: []string{s.tag}, Layers: []string{blob(manifest.Layers[0])}}
	list, err := json.Marshal(tarball.Manifest{listed})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), list, 0o644); err != nil {
		return err
	}
	packed, err := pack(dir, s.created)
	if err != nil {
		return err
	}
	return os.WriteFile(archive, packed, 0o644)
}

// full is a tag's name as containerd and Docker write it.
func full(tag reference.Tag) string {
	host := tag.RegistryStr()
	if host == reference.DefaultRegistry {
		host = "docker.io"
	}
	return host + "/" + tag.RepositoryStr() + ":" + tag.TagStr()
}

// pack makes a tar of a directory, in the order of names. Owner, times and modes are not the disk's.
func pack(dir string, at time.Time) ([]byte, error) {
	var all bytes.Buffer
	to := tar.NewWriter(&all)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		inside, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(inside), Mode: 0o644, ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if info.IsDir() {
			header.Name, header.Mode, header.Typeflag = header.Name+"/", 0o755, tar.TypeDir
			return to.WriteHeader(header)
		}
		if info.Mode()&0o100 != 0 {
			header.Mode = 0o755
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		header.Size = int64(len(content))
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		_, err = to.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	return all.Bytes(), nil
}

// tell reads the archive back, as somebody who loads it does, and prints what it is.
func tell(archive string, image v1.Image) error {
	loaded, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		return fmt.Errorf("reading %s back: %w", archive, err)
	}
	wanted, err := image.ConfigName()
	if err != nil {
		return err
	}
	if found, err := loaded.ConfigName(); err != nil || found != wanted {
		return fmt.Errorf("%s holds the image %s, and should hold %s (%v)", archive, found, wanted, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	info, err := os.Stat(archive)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s, %.1f MiB\n", digest, archive, float64(info.Size())/(1<<20))
	return nil
}
