package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Two of the crates that the real list has, and a path of this machine.
const crates = `{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"serialNumber":"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
"metadata":{"timestamp":"2020-01-01T00:00:00Z","component":{"type":"application","name":"stream-pipeline-operator","bom-ref":"path+file://HERE#0.1.0"}},
"components":[{"type":"library","name":"rdkafka-sys","version":"4.10.0+2.12.1"},{"type":"library","name":"openssl-src","version":"300.6.1+3.6.3"}]}`

func built(t *testing.T) settings {
	t.Helper()
	t.Chdir("../..")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s := settings{
		out: t.TempDir(), arch: "arm64", tag: "registry.example.com/o/stream-pipeline-operator:1.2", version: "1.2", revision: "abc",
		licence: "Apache-2.0", description: "d", rust: "1.95.0", source: "https://example.com/s", created: time.Unix(1795947001, 0).UTC(),
	}
	s.program, s.sbom = filepath.Join(s.out, "program"), filepath.Join(s.out, "cargo.cdx.json")
	for path, text := range map[string]string{s.program: "program", s.sbom: string(bytes.ReplaceAll([]byte(crates), []byte("HERE"), []byte(here)))} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func archive(t *testing.T, s settings) []byte {
	t.Helper()
	all, err := os.ReadFile(filepath.Join(s.out, name+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheSameInputIsTheSameArchive(t *testing.T) {
	s := built(t)
	first := archive(t, s)
	// Neither the time, nor the modes and times on the disk.
	for _, path := range []string{s.program, s.sbom} {
		if err := errors.Join(os.Chmod(path, 0o700), os.Chtimes(path, time.Now(), time.Unix(0, 0))); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, archive(t, s)) {
		t.Error("built again it is another archive")
	}
}

func TestTheImageHasWhatTheProgramNeedsAndNothingElse(t *testing.T) {
	s := built(t)
	image, err := tarball.ImageFromPath(filepath.Join(s.out, name+".tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/" + name}) || config.Architecture != "arm64" {
		t.Errorf("not its user, entry point or architecture: %+v", config)
	}
	for label, value := range map[string]string{"title": name, "version": "1.2", "revision": "abc", "licenses": "Apache-2.0", "source": "https://example.com/s", "created": "2026-11-29T10:10:01Z"} {
		if found := config.Config.Labels["org.opencontainers.image."+label]; found != value {
			t.Errorf("label %s: %q, expected %q", label, found, value)
		}
	}
	var files []string
	unpacked := mutate.Extract(image)
	defer unpacked.Close()
	for from := tar.NewReader(unpacked); ; {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Mode&0o022 != 0 || !header.ModTime.Equal(s.created) {
			t.Errorf("%s: owner %d, mode %o, time %s", header.Name, header.Uid, header.Mode, header.ModTime)
		}
		if header.Typeflag == tar.TypeReg {
			files = append(files, header.Name)
		}
	}
	doc := "usr/share/doc/" + name + "/"
	expected := []string{"etc/ssl/certs/ca-certificates.crt", name, doc + "LICENSE", doc + name + ".cdx.json"}
	if !slices.Equal(files, expected) {
		t.Errorf("files %v, expected %v", files, expected)
	}
}

func TestEnginesFindTheImageByItsName(t *testing.T) {
	s := built(t)
	dir := t.TempDir()
	for from := tar.NewReader(bytes.NewReader(archive(t, s))); ; {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, header.Name)
		if header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(to, 0o755)
		} else {
			var content []byte
			if content, err = io.ReadAll(from); err == nil {
				err = os.WriteFile(to, content, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The layout, as containerd and OCI's tools read it.
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	named := manifest.Manifests[0].Annotations
	if named["io.containerd.image.name"] != s.tag || named["org.opencontainers.image.ref.name"] != "1.2" {
		t.Errorf("named %v", named)
	}
	// The list, as older engines read it.
	var listed tarball.Manifest
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &listed); err != nil || !slices.Equal(listed[0].RepoTags, []string{s.tag}) {
		t.Errorf("listed %v (%v)", listed, err)
	}
}

func TestTheListNamesWhatIsNoCrateAndNoPathOfThisMachine(t *testing.T) {
	s := built(t)
	text, err := os.ReadFile(filepath.Join(s.out, name+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"librdkafka"`, `"pkg:generic/openssl@3.6.3"`, `"cpe:2.3:a:openssl:openssl:3.6.3:*:*:*:*:*:*:*"`, `"musl"`, `"rust-std"`, "file:///src#"} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("expected %s in: %s", part, text)
		}
	}
	if bytes.Contains(text, []byte("urn:uuid")) {
		t.Error("a number that is drawn makes every list another one")
	}
}

func TestTheCertificateAuthoritiesCanBeRead(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities()) || bytes.Count(authorities(), []byte("BEGIN CERTIFICATE")) < 100 {
		t.Error("expected a hundred certificates and more")
	}
}

func TestTheDockerfileBuildsWithTheSameReleasesAndRunsTheSameWay(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Chdir("../..")
	dockerfile := read("Dockerfile")
	for _, pin := range []struct{ file, line, image string }{
		{"testbed/image/go.mod", `(?m)^toolchain go(.+)$`, "golang:"},
		{"rust-toolchain.toml", `channel = "(.+)"`, "rust:"},
	} {
		found := regexp.MustCompile(pin.line).FindStringSubmatch(read(pin.file))
		if found == nil || !strings.Contains(dockerfile, " "+pin.image+found[1]+"-") {
			t.Errorf("%s has %v, and the Dockerfile another %s…", pin.file, found, pin.image)
		}
	}
	for _, line := range []string{"USER " + user, fmt.Sprintf("ENTRYPOINT [%q]", "/"+name)} {
		if !strings.Contains(dockerfile, line) {
			t.Errorf("expected %s in the Dockerfile", line)
		}
	}
}
