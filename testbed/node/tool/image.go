package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// image writes an archive of an image with nothing in it but these files: OUT NAME:TAG COMMAND DEST=SOURCE…
func image(args []string) error {
	if len(args) < 4 || args[2] == "" {
		return fmt.Errorf("usage: image OUT NAME:TAG COMMAND DEST=SOURCE…")
	}
	var files bytes.Buffer
	to := tar.NewWriter(&files)
	for _, file := range args[3:] {
		destination, source, _ := strings.Cut(file, "=")
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		header := tar.Header{Name: strings.TrimPrefix(destination, "/"), Mode: 0o755, Size: int64(len(content))}
		if err := to.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := to.Write(content); err != nil {
			return err
		}
	}
	if err := to.Close(); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
	if err != nil {
		return err
	}
	whole, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	config, err := whole.ConfigFile()
	if err != nil {
		return err
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	// A pod may have other arguments.
	command := strings.Fields(args[2])
	config.Config = v1.Config{Entrypoint: command[:1], Cmd: command[1:], User: "65532:65532"}
	if whole, err = mutate.ConfigFile(whole, config); err != nil {
		return err
	}
	tag, err := name.NewTag(args[1])
	if err != nil {
		return err
	}
	return tarball.WriteToFile(args[0], tag, whole)
}
