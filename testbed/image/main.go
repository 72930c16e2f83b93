// Command image puts the built program into an OCI image archive, with the files it needs and a list of what is in it.
// The same input gives the same bytes: times, owners, modes and order are fixed. docs/design/image.md has the reasons.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The program, and who runs it.
const (
	name = "stream-pipeline-operator"
	user = "65532:65532"
)

type settings struct {
	program, sbom, out         string
	arch, tag, source          string
	version, revision, licence string
	description, rust          string
	created                    time.Time
}

func main() {
	var s settings
	var epoch int64
	flag.StringVar(&s.program, "program", "", "the program")
	flag.StringVar(&s.sbom, "sbom", "", "what cargo-cyclonedx wrote")
	flag.StringVar(&s.out, "out", "", "where root/, the archive and the SBOM go")
	flag.StringVar(&s.arch, "arch", "", "amd64 or arm64")
	flag.StringVar(&s.tag, "tag", "", "the image's name and tag")
	flag.StringVar(&s.source, "source", "", "where the source is (may be empty)")
	flag.StringVar(&s.version, "version", "", "the program's version")
	flag.StringVar(&s.revision, "revision", "", "the commit")
	flag.StringVar(&s.licence, "licence", "", "the licence, as SPDX names it")
	flag.StringVar(&s.description, "description", "", "one line")
	flag.StringVar(&s.rust, "rust", "", "the release of Rust that built it")
	flag.Int64Var(&epoch, "created", 0, "seconds since 1970")
	flag.Parse()
	s.created = time.Unix(epoch, 0).UTC()
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	root := filepath.Join(s.out, "root")
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	sbom, err := completeSBOM(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.out, name+".cdx.json"), sbom, 0o644); err != nil {
		return err
	}
	if err := stage(root, s.program, sbom); err != nil {
		return err
	}
	image, err := assemble(root, s)
	if err != nil {
		return err
	}
	archive := filepath.Join(s.out, name+".tar")
	if err := write(archive, image, s); err != nil {
		return err
	}
	return tell(archive, image)
}
