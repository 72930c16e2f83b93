package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// The C library that Rust's own target for musl brings along; a release of Rust may bring another.
const musl = "1.2.5"

const roots = "golang.org/x/crypto/x509roots/fallback"

// completeSBOM adds to cargo's list what cargo does not see, and takes out what differs from machine to machine.
func completeSBOM(s settings) ([]byte, error) {
	text, err := os.ReadFile(s.sbom)
	if err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	text = bytes.ReplaceAll(text, []byte("file://"+here), []byte("file:///src"))
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return nil, err
	}
	if bom.Components == nil || bom.Metadata == nil || bom.Metadata.Component == nil {
		return nil, errors.New("cargo-cyclonedx wrote no component")
	}
	bom.SerialNumber = ""
	bom.Metadata.Timestamp = s.created.Format(time.RFC3339)
	more, err := unseen(*bom.Components, s.rust)
	if err != nil {
		return nil, err
	}
	*bom.Components = append(*bom.Components, more...)
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(&bom, bom.SpecVersion); err != nil {
		return nil, err
	}
	if bytes.Contains(out.Bytes(), []byte(here)) {
		return nil, fmt.Errorf("the SBOM names the directory it was built in: %s", here)
	}
	return out.Bytes(), nil
}

// unseen are the parts that no crate stands for: what two crates compile as C, the standard library, libc, and the certificates.
func unseen(crates []cdx.Component, rust string) ([]cdx.Component, error) {
	inside := func(crate string) (string, error) {
		for _, found := range crates {
			// A crate's version ends in that of the C library it brings: 4.10.0+2.12.1.
			if _, version, ok := strings.Cut(found.Version, "+"); found.Name == crate && ok {
				return version, nil
			}
		}
		return "", fmt.Errorf("%s is not in the SBOM, or does not say which version it brings", crate)
	}
	kafka, err := inside("rdkafka-sys")
	if err != nil {
		return nil, err
	}
	openssl, err := inside("openssl-src")
	if err != nil {
		return nil, err
	}
	built, ok := debug.ReadBuildInfo()
	certificates := ""
	for i := 0; ok && i < len(built.Deps); i++ {
		if built.Deps[i].Path == roots {
			certificates = built.Deps[i].Version
		}
	}
	if certificates == "" {
		return nil, errors.New("this program does not know its version of " + roots)
	}
	return []cdx.Component{
		part(cdx.ComponentTypeLibrary, "librdkafka", kafka, "BSD-2-Clause", "pkg:github/confluentinc/librdkafka@v"+kafka, "confluent:librdkafka"),
		part(cdx.ComponentTypeLibrary, "openssl", openssl, "Apache-2.0", "pkg:generic/openssl@"+openssl, "openssl:openssl"),
		part(cdx.ComponentTypeLibrary, "musl", musl, "MIT", "pkg:generic/musl@"+musl, "musl-libc:musl"),
		part(cdx.ComponentTypeLibrary, "rust-std", rust, "MIT OR Apache-2.0", "pkg:generic/rust@"+rust, "rust-lang:rust"),
		part(cdx.ComponentTypeData, "Mozilla's certificate authorities", certificates, "MPL-2.0", "pkg:golang/"+roots+"@"+certificates, ""),
	}, nil
}

func part(kind cdx.ComponentType, name, version, licence, purl, vendorAndProduct string) cdx.Component {
	found := cdx.Component{
		BOMRef: purl, Type: kind, Name: name, Version: version, Scope: cdx.ScopeRequired, PackageURL: purl,
		Licenses: &cdx.Licenses{{Expression: licence}},
	}
	if vendorAndProduct != "" {
		found.CPE = fmt.Sprintf("cpe:2.3:a:%s:%s:*:*:*:*:*:*:*", vendorAndProduct, version)
	}
	return found
}
